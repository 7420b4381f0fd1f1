//! Sealing: an epoch's secret to each member, and bodies under it.
//!
//! The secret is sealed with HPKE (RFC 9180, base mode) to the sealing key that
//! each recipient's identity names. The KEM of that key decides the suite:
//!
//! | KEM | KDF | AEAD |
//! |---|---|---|
//! | 0x647a X-Wing (X25519 and ML-KEM-768, draft-ietf-hpke-pq) | 1 HKDF-SHA256 | 3 ChaCha20-Poly1305 |
//! | 0x0020 DHKEM(X25519, HKDF-SHA256) | 1 | 3 |
//!
//! `info` is a domain, network, group, author, the epoch's nonce and the
//! recipient. Not the epoch's id, as that is the hash of an entry that commits to the
//! sealed copies; the nonce is random and stands for it. So a copy is of no use in
//! another network, group or epoch, from another author, or to somebody else.
//!
//! Everything else derives from the secret by HKDF-SHA256 with a label and what
//! it is for:
//!
//! ```text
//! commitment = HKDF(secret, "commitment", network, group, nonce)
//! link key   = HKDF(secret, "link",       network, group, nonce, earlier epoch)
//! body key   = HKDF(secret, "body",       network, group, epoch)
//! ```
//!
//! Bodies are XChaCha20-Poly1305 under a fresh 24-byte nonce; the associated data
//! are the log's origin and the header, so a body fits one entry. What comes out is
//! verified against the header's commitment like any body.
//!
//! **Invariants:** secrets are wiped from memory when dropped and never printed;
//! the same random bytes give the same result. Deliberately absent: randomness,
//! which comes in as an argument, and forward secrecy against members, who keep
//! the secrets because auditors need history.

use core::convert::Infallible;
use core::fmt;

use hkdf::Hkdf;
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::{X25519HkdfSha256, XWing};
use hpke::rand_core::{TryCryptoRng, TryRng};
use hpke::{Deserializable as _, Kem, OpModeR, OpModeS, Serializable as _};
use serde_bytes::ByteBuf;
use sha2::{Digest as _, Sha256};
use xchacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use xchacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use zeroize::{Zeroize as _, ZeroizeOnDrop, Zeroizing};

use crate::body::{Body, BodyError, SealedBody};
use crate::checkpoint::Origin;
use crate::entry::{Entry, Header};
use crate::id::{AuthorityId, EpochId, GroupId, NetworkName};
use crate::identity::SealingKey;

const SECRET_DOMAIN: &[u8] = b"tallystick group secret v1\n";
const COPY_DOMAIN: &[u8] = b"tallystick group copy v1\n";
const STREAM_CONTEXT: &str = "tallystick 2026 group randomness v1";
/// KDF and AEAD identifiers of all suites: HKDF-SHA256 and ChaCha20-Poly1305.
const KDF_AND_AEAD: [u8; 4] = [0, 1, 0, 3];

/// Why something cannot be sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// A KEM, KDF or AEAD that this version does not know.
    #[error("it is sealed in a way that this version does not know")]
    Suite,
    /// The sealing key of a recipient is none.
    #[error("the sealing key is not valid")]
    Key,
    /// It was sealed for something or somebody else, or has been changed.
    #[error("it does not open: it is sealed for something else or damaged")]
    Open,
    /// The header names another epoch than the key's.
    #[error("the entry belongs to another epoch")]
    Epoch,
    /// The entry has no body to seal.
    #[error("the entry has no body to seal")]
    Absent,
    /// What was sealed is not the body that the header committed to.
    #[error("what was sealed is another body: {0}")]
    Body(BodyError),
}

/// How a secret is sealed to one recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// X25519 only.
    X25519,
    /// X25519 and ML-KEM-768: holds as long as one of them does.
    XWing,
}

impl Suite {
    /// The suite for keys of a KEM, by its identifier in the IANA registry.
    ///
    /// # Errors
    /// [`SealError::Suite`].
    pub const fn of_kem(kem: u16) -> Result<Self, SealError> {
        match kem {
            X25519HkdfSha256::KEM_ID => Ok(Self::X25519),
            XWing::KEM_ID => Ok(Self::XWing),
            _ => Err(SealError::Suite),
        }
    }

    /// The identifier of its KEM.
    #[must_use]
    pub const fn kem(self) -> u16 {
        match self {
            Self::X25519 => X25519HkdfSha256::KEM_ID,
            Self::XWing => XWing::KEM_ID,
        }
    }

    /// KEM, KDF and AEAD identifiers, two bytes each, big-endian.
    #[must_use]
    pub const fn id(self) -> [u8; 6] {
        let ([a, b], [c, d, e, f]) = (self.kem().to_be_bytes(), KDF_AND_AEAD);
        [a, b, c, d, e, f]
    }
}

/// The secret half of a sealing key; wiped when dropped and never printed.
#[derive(Clone)]
pub struct SealingSecret {
    suite: Suite,
    seed: Zeroizing<[u8; 32]>,
}

impl SealingSecret {
    /// From 32 random bytes: the private key of X25519, the decapsulation key of X-Wing.
    #[must_use]
    pub fn from_seed(suite: Suite, seed: [u8; 32]) -> Self {
        Self { suite, seed: Zeroizing::new(seed) }
    }

    /// Its suite.
    #[must_use]
    pub const fn suite(&self) -> Suite {
        self.suite
    }

    /// The public half, as identities name it.
    ///
    /// # Errors
    /// None for 32 bytes.
    pub fn public(&self) -> Result<SealingKey, SealError> {
        let key = match self.suite {
            Suite::X25519 => public::<X25519HkdfSha256>(&self.seed)?,
            Suite::XWing => public::<XWing>(&self.seed)?,
        };
        Ok(SealingKey { kem: self.suite.kem(), key: ByteBuf::from(key) })
    }

    pub(super) fn open(&self, info: &[u8], sealed: &[u8]) -> Result<EpochSecret, SealError> {
        match self.suite {
            Suite::X25519 => open::<X25519HkdfSha256>(&self.seed, info, sealed),
            Suite::XWing => open::<XWing>(&self.seed, info, sealed),
        }
    }
}

impl fmt::Debug for SealingSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingSecret({:?}, ..)", self.suite)
    }
}

impl ZeroizeOnDrop for SealingSecret {}

/// The first eight bytes of SHA-256 over a sealing key's KEM identifier and bytes.
#[must_use]
pub fn key_id(key: &SealingKey) -> [u8; 8] {
    let digest: [u8; 32] =
        Sha256::new().chain_update(key.kem.to_be_bytes()).chain_update(&key.key).finalize().into();
    digest.first_chunk().copied().unwrap_or_default()
}

/// For whom and where a copy of a secret is sealed.
pub(super) struct CopyInfo<'a> {
    pub(super) network: &'a NetworkName,
    pub(super) group: &'a GroupId,
    pub(super) author: &'a AuthorityId,
    pub(super) nonce: &'a [u8; 32],
    pub(super) recipient: &'a AuthorityId,
}

impl CopyInfo<'_> {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut info = COPY_DOMAIN.to_vec();
        push(&mut info, self.network.as_str().as_bytes());
        push(&mut info, self.group.as_bytes());
        push(&mut info, self.author.as_bytes());
        push(&mut info, self.nonce);
        push(&mut info, self.recipient.as_bytes());
        info
    }
}

/// Appends a part behind its length in two bytes; no part here is longer than 320 bytes.
fn push(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.extend_from_slice(&u16::try_from(part.len()).unwrap_or(u16::MAX).to_be_bytes());
    bytes.extend_from_slice(part);
}

fn public<K: Kem>(seed: &[u8; 32]) -> Result<Vec<u8>, SealError> {
    let secret = K::PrivateKey::from_bytes(seed).map_err(|_| SealError::Key)?;
    Ok(K::sk_to_pk(&secret).to_bytes().to_vec())
}

/// Seals a secret to a key: the encapsulated key, then the ciphertext.
pub(super) fn seal_to(
    key: &SealingKey,
    info: &[u8],
    secret: &EpochSecret,
    random: &mut Stream,
) -> Result<Vec<u8>, SealError> {
    match Suite::of_kem(key.kem)? {
        Suite::X25519 => seal::<X25519HkdfSha256>(&key.key, info, secret, random),
        Suite::XWing => seal::<XWing>(&key.key, info, secret, random),
    }
}

fn seal<K: Kem>(
    key: &[u8],
    info: &[u8],
    secret: &EpochSecret,
    random: &mut Stream,
) -> Result<Vec<u8>, SealError> {
    let key = K::PublicKey::from_bytes(key).map_err(|_| SealError::Key)?;
    let (encapsulated, sealed) =
        hpke::single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, K>(
            &OpModeS::Base,
            &key,
            info,
            &*secret.0,
            &[],
            random,
        )
        .map_err(|_| SealError::Key)?;
    let mut copy = encapsulated.to_bytes().to_vec();
    copy.extend_from_slice(&sealed);
    Ok(copy)
}

fn open<K: Kem>(seed: &[u8; 32], info: &[u8], sealed: &[u8]) -> Result<EpochSecret, SealError> {
    let secret = K::PrivateKey::from_bytes(seed).map_err(|_| SealError::Key)?;
    let parts = sealed.split_at_checked(K::EncappedKey::size()).ok_or(SealError::Open)?;
    let encapsulated = K::EncappedKey::from_bytes(parts.0).map_err(|_| SealError::Open)?;
    let opened = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, K>(
        &OpModeR::Base,
        &secret,
        &encapsulated,
        info,
        parts.1,
        &[],
    );
    let opened = Zeroizing::new(opened.map_err(|_| SealError::Open)?);
    EpochSecret::from_slice(&opened).ok_or(SealError::Open)
}

/// The secret of an epoch; wiped when dropped and never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct EpochSecret(Zeroizing<[u8; 32]>);

impl EpochSecret {
    /// From 32 bytes that [`EpochSecret::to_bytes`] gave.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Its bytes, for a file that only this node reads.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        self.0.clone()
    }

    fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut secret = Zeroizing::new([0; 32]);
        if bytes.len() != secret.len() {
            return None;
        }
        secret.copy_from_slice(bytes);
        Some(Self(secret))
    }

    /// 32 bytes for one purpose.
    fn derive(&self, label: &str, parts: [&[u8]; 4]) -> Zeroizing<[u8; 32]> {
        let mut info = Vec::new();
        push(&mut info, label.as_bytes());
        parts.iter().for_each(|part| push(&mut info, part));
        let mut key = Zeroizing::new([0; 32]);
        let derived =
            Hkdf::<Sha256>::new(Some(SECRET_DOMAIN), &*self.0).expand(&info, key.as_mut());
        derived.expect("32 bytes are within what HKDF gives");
        key
    }

    /// What an epoch's entry says of its secret.
    pub(super) fn commitment(
        &self,
        network: &NetworkName,
        group: &GroupId,
        nonce: &[u8; 32],
    ) -> [u8; 32] {
        let parts = [network.as_str().as_bytes(), group.as_bytes(), nonce, &[]];
        *self.derive("commitment", parts)
    }

    /// Seals the secret of an earlier epoch under this one. The key is used once,
    /// for this earlier epoch in this opening, so its nonce is all zeros.
    pub(super) fn seal_earlier(&self, place: &LinkPlace<'_>, earlier: &Self) -> Option<[u8; 48]> {
        let sealed = self.link(place).encrypt(&XNonce::default(), earlier.0.as_slice());
        sealed.ok()?.try_into().ok()
    }

    pub(super) fn open_earlier(
        &self,
        place: &LinkPlace<'_>,
        sealed: &[u8],
    ) -> Result<Self, SealError> {
        let opened = self.link(place).decrypt(&XNonce::default(), sealed);
        let opened = Zeroizing::new(opened.map_err(|_| SealError::Open)?);
        Self::from_slice(&opened).ok_or(SealError::Open)
    }

    fn link(&self, place: &LinkPlace<'_>) -> XChaCha20Poly1305 {
        let network = place.network.as_str().as_bytes();
        let parts = [network, place.group.as_bytes(), place.nonce, place.earlier.as_bytes()];
        cipher(&self.derive("link", parts))
    }

    /// The key for bodies of `epoch`, which this is the secret of.
    #[must_use]
    pub fn body_key(&self, network: &NetworkName, group: &GroupId, epoch: EpochId) -> BodyKey {
        let parts = [network.as_str().as_bytes(), group.as_bytes(), epoch.as_bytes(), &[]];
        BodyKey { epoch, key: self.derive("body", parts) }
    }
}

impl fmt::Debug for EpochSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EpochSecret(..)")
    }
}

impl ZeroizeOnDrop for EpochSecret {}

/// Where an earlier secret is sealed under a later one.
pub(super) struct LinkPlace<'a> {
    pub(super) network: &'a NetworkName,
    pub(super) group: &'a GroupId,
    /// Of the later epoch.
    pub(super) nonce: &'a [u8; 32],
    pub(super) earlier: &'a EpochId,
}

fn cipher(key: &[u8; 32]) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(<&Key>::from(key))
}

/// Seals and opens the bodies of one epoch; wiped when dropped and never printed.
#[derive(Clone)]
pub struct BodyKey {
    epoch: EpochId,
    key: Zeroizing<[u8; 32]>,
}

impl BodyKey {
    /// Which epoch.
    #[must_use]
    pub const fn epoch(&self) -> EpochId {
        self.epoch
    }

    /// Seals the body of an entry of the log `origin`. `nonce` is fresh: 24 bytes
    /// of a cryptographic random source, never used again.
    ///
    /// # Errors
    /// [`SealError::Epoch`], [`SealError::Absent`].
    pub fn seal(
        &self,
        origin: &Origin,
        entry: &Entry,
        nonce: [u8; 24],
    ) -> Result<SealedBody, SealError> {
        if entry.header().epoch != Some(self.epoch) {
            return Err(SealError::Epoch);
        }
        let body = entry.body().ok_or(SealError::Absent)?;
        let aad = associated_data(origin, entry);
        let payload = Payload { msg: body.as_bytes(), aad: &aad };
        let sealed = cipher(&self.key).encrypt(<&XNonce>::from(&nonce), payload);
        Ok(SealedBody::new(&nonce, &sealed.map_err(|_| SealError::Absent)?))
    }

    /// Opens the body of an entry of the log `origin` and checks it against the
    /// header: the entry with its body.
    ///
    /// # Errors
    /// [`SealError::Epoch`], [`SealError::Open`] or [`SealError::Body`].
    pub fn open(
        &self,
        origin: &Origin,
        entry: &Entry,
        sealed: &SealedBody,
    ) -> Result<Entry, SealError> {
        if entry.header().epoch != Some(self.epoch) {
            return Err(SealError::Epoch);
        }
        let aad = associated_data(origin, entry);
        let payload = Payload { msg: sealed.ciphertext(), aad: &aad };
        let body = cipher(&self.key).decrypt(<&XNonce>::from(sealed.nonce()), payload);
        let body = body.map_err(|_| SealError::Open)?;
        let Header { commitment, body_size, .. } = entry.header();
        let body = Body::verify(body, commitment, *body_size).map_err(SealError::Body)?;
        Ok(entry.with_body(body))
    }
}

impl fmt::Debug for BodyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BodyKey({}, ..)", self.epoch)
    }
}

impl ZeroizeOnDrop for BodyKey {}

fn associated_data(origin: &Origin, entry: &Entry) -> Vec<u8> {
    let mut aad = Vec::with_capacity(origin.as_str().len() + entry.header_bytes().len() + 2);
    push(&mut aad, origin.as_str().as_bytes());
    aad.extend_from_slice(entry.header_bytes());
    aad
}

/// All the randomness of one opening, from 32 random bytes: BLAKE3 in its
/// extendable mode. Wiped when dropped.
pub(super) struct Stream(blake3::OutputReader);

impl Stream {
    pub(super) fn from_random(mut random: [u8; 32]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(STREAM_CONTEXT);
        hasher.update(&random);
        random.zeroize();
        let stream = Self(hasher.finalize_xof());
        hasher.zeroize();
        stream
    }

    pub(super) fn next(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.0.fill(&mut bytes);
        bytes
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl TryRng for Stream {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Stream {}
