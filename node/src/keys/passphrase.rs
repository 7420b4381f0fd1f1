//! Secrets under a passphrase: argon2id makes a key of it, and
//! XChaCha20-Poly1305 seals the secret with that.
//!
//! What makes guessing slow ([`Cost`]) is stated beside the sealed secret and
//! bounded before any memory is taken: a file cannot make its reader use more
//! than [`Cost::MOST_KIB`] or wait for minutes.
//!
//! One derived key may seal many secrets, each under a random nonce of 24 bytes.
//!
//! **Invariants:** passphrase, derived key and the memory it was made in are
//! wiped; nothing here prints them. Deliberately absent: files, see
//! [`super::file`], and asking people.

use std::fmt;
use std::path::Path;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use chacha20poly1305::aead::AeadInPlace as _;
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305};
use zeroize::{Zeroize as _, Zeroizing};

use super::file::{Seed, read_bounded, refuse_shared};
use crate::failure::Failure;

/// Longest passphrase, in bytes.
const PASSPHRASE_BYTES: u64 = 1024;
/// Bytes of a salt.
pub(super) const SALT: usize = 16;
/// Bytes of a nonce.
pub(super) const NONCE: usize = 24;
/// Bytes of a sealed seed: it and its tag.
pub(super) const SEALED: usize = 48;

/// A passphrase that is not empty; wiped when dropped, and never printed.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// From what somebody typed; `None` if that is nothing.
    #[must_use]
    pub fn new(text: Zeroizing<String>) -> Option<Self> {
        (!text.is_empty()).then_some(Self(text))
    }

    /// Reads the first line of a file.
    ///
    /// # Errors
    /// A [`Failure`] if the file cannot be read, others may read it, or its
    /// first line is empty.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        // A pipe has no rights worth checking.
        if path.is_file() {
            refuse_shared(path).map_err(|error| unreadable(path, &error))??;
        }
        Self::first_line(path)
    }

    /// Reads the credential of this name that systemd put into `dir`; `None` if
    /// there is none.
    ///
    /// # Errors
    /// A [`Failure`] if it cannot be read or its first line is empty.
    pub fn credential(dir: &Path, name: &str) -> Result<Option<Self>, Failure> {
        let path = dir.join(name);
        // Its rights say nothing: systemd lets the service in by an access control
        // list, whose mask shows as rights of a group.
        if path.exists() { Self::first_line(&path).map(Some) } else { Ok(None) }
    }

    fn first_line(path: &Path) -> Result<Self, Failure> {
        let bytes = read_bounded(path, PASSPHRASE_BYTES);
        let bytes = Zeroizing::new(bytes.map_err(|error| unreadable(path, &error))?);
        let text = str::from_utf8(&bytes).map_err(|error| unreadable(path, &error))?;
        let line = text.lines().next().unwrap_or_default();
        Self::new(Zeroizing::new(line.to_owned())).ok_or_else(|| unreadable(path, &"it is empty"))
    }
}

fn unreadable(path: &Path, why: &dyn fmt::Display) -> Failure {
    Failure::usage(
        format!("no passphrase can be read from {} ({why})", path.display()),
        "give a file whose first line is the passphrase",
    )
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase")
    }
}

/// What one guess costs: argon2id's parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Memory, in KiB.
    pub kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes it is divided into.
    pub lanes: u32,
}

impl Cost {
    /// The second recommendation of RFC 9106 section 4, for machines of any size.
    pub const USUAL: Self = Self { kib: 64 << 10, passes: 3, lanes: 4 };
    /// Most memory that is taken for a file, in KiB.
    pub const MOST_KIB: u32 = 1 << 20;
    const MOST_PASSES: u32 = 16;
    const MOST_LANES: u32 = 8;

    /// argon2's own form, if these are parameters that anybody needs.
    fn params(self) -> Option<Params> {
        let bounded = self.kib <= Self::MOST_KIB
            && self.passes <= Self::MOST_PASSES
            && self.lanes <= Self::MOST_LANES;
        bounded.then(|| Params::new(self.kib, self.passes, self.lanes, Some(32)).ok()).flatten()
    }
}

/// A seed as it lies under a passphrase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sealed {
    pub(super) cost: Cost,
    pub(super) salt: [u8; SALT],
    pub(super) nonce: [u8; NONCE],
    pub(super) bytes: [u8; SEALED],
}

/// A passphrase made into the key that secrets are sealed under, for one cost and
/// salt: making it is what costs, so that one may do for many files. Wiped when
/// dropped, and never printed.
pub struct WrappingKey {
    cost: Cost,
    salt: [u8; SALT],
    key: Seed,
}

impl fmt::Debug for WrappingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WrappingKey").field("cost", &self.cost).finish_non_exhaustive()
    }
}

impl WrappingKey {
    /// One with a salt of its own.
    ///
    /// # Errors
    /// A [`Failure`] if the system gives no random numbers, or argon2id does not
    /// take this cost.
    pub fn new(passphrase: &Passphrase, cost: Cost) -> Result<Self, Failure> {
        let mut salt = [0; SALT];
        random(&mut salt)?;
        Self::derive(passphrase, cost, salt)
            .ok_or_else(|| Failure::internal("argon2id does not take these parameters"))
    }

    /// The one that something was sealed under, if the passphrase is the same;
    /// `None` for a cost beyond the bounds.
    pub(super) fn of(passphrase: &Passphrase, sealed: &Sealed) -> Option<Self> {
        Self::derive(passphrase, sealed.cost, sealed.salt)
    }

    fn derive(passphrase: &Passphrase, cost: Cost, salt: [u8; SALT]) -> Option<Self> {
        let params = cost.params()?;
        let mut memory = vec![Block::default(); params.block_count()];
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let mut key = Seed::new([0; 32]);
        let made = argon2.hash_password_into_with_memory(
            passphrase.0.as_bytes(),
            &salt,
            key.as_mut_slice(),
            &mut memory,
        );
        memory.zeroize();
        made.ok()?;
        Some(Self { cost, salt, key })
    }

    /// What must never be printed.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> &[u8] {
        self.key.as_slice()
    }

    /// Whether something was sealed with this cost and salt.
    pub(super) fn fits(&self, sealed: &Sealed) -> bool {
        (self.cost, self.salt) == (sealed.cost, sealed.salt)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.key).into())
    }

    /// Seals a seed, and binds it to `context`, which is not secret: it is made of
    /// what is decided here, cost, salt and nonce, and of whatever the caller adds.
    pub(super) fn seal(
        &self,
        seed: &Seed,
        context: impl FnOnce(&Sealed) -> String,
    ) -> Result<Sealed, Failure> {
        let Self { cost, salt, .. } = *self;
        let mut sealed = Sealed { cost, salt, nonce: [0; NONCE], bytes: [0; SEALED] };
        random(&mut sealed.nonce)?;
        let mut buffer = seed.clone();
        let (nonce, context) = (sealed.nonce.into(), context(&sealed));
        let tag = self
            .cipher()
            .encrypt_in_place_detached(&nonce, context.as_bytes(), buffer.as_mut_slice())
            .map_err(|_| Failure::internal("the key cannot be encrypted"))?;
        let whole = buffer.iter().chain(tag.iter());
        sealed.bytes.iter_mut().zip(whole).for_each(|(to, from)| *to = *from);
        Ok(sealed)
    }

    /// Opens what [`WrappingKey::seal`] made; `None` if the key or `context` is
    /// another, or a bit was changed.
    pub(super) fn open(&self, sealed: &Sealed, context: &str) -> Option<Seed> {
        let (secret, tag) = sealed.bytes.split_first_chunk::<32>()?;
        let tag: [u8; 16] = tag.try_into().ok()?;
        let (nonce, mut seed) = (sealed.nonce.into(), Seed::new(*secret));
        self.cipher()
            .decrypt_in_place_detached(&nonce, context.as_bytes(), seed.as_mut_slice(), &tag.into())
            .ok()?;
        Some(seed)
    }
}

fn random(bytes: &mut [u8]) -> Result<(), Failure> {
    getrandom::fill(bytes)
        .map_err(|error| Failure::internal(format!("the system gives no random numbers ({error})")))
}

/// The wrapping keys that a passphrase makes, each made once: files that were
/// sealed together have one salt.
pub(super) struct Unlocking<'a> {
    passphrase: Option<&'a Passphrase>,
    made: Option<WrappingKey>,
}

impl<'a> Unlocking<'a> {
    /// With a passphrase, or for files that need none.
    pub(super) const fn with(passphrase: Option<&'a Passphrase>) -> Self {
        Self { passphrase, made: None }
    }

    /// Whether there is a passphrase.
    pub(super) const fn is_possible(&self) -> bool {
        self.passphrase.is_some()
    }

    /// Opens something; `None` if there is no passphrase or it is another one.
    pub(super) fn open(&mut self, sealed: &Sealed, context: &str) -> Option<Seed> {
        self.key_for(sealed)?.open(sealed, context)
    }

    /// The key for something sealed, right or wrong.
    fn key_for(&mut self, sealed: &Sealed) -> Option<&WrappingKey> {
        if !self.made.as_ref().is_some_and(|made| made.fits(sealed)) {
            self.made = Some(WrappingKey::of(self.passphrase?, sealed)?);
        }
        self.made.as_ref()
    }

    /// The key that was made last.
    pub(super) fn into_key(self) -> Option<WrappingKey> {
        self.made
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// For tests, which have nothing to hide: the least that argon2id takes.
    pub(crate) const CHEAP: Cost = Cost { kib: 32, passes: 1, lanes: 4 };

    pub(crate) fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(Zeroizing::new(text.to_owned())).unwrap()
    }

    fn open(sealed: &Sealed, phrase: &str, context: &str) -> Option<Seed> {
        let phrase = passphrase(phrase);
        Unlocking::with(Some(&phrase)).open(sealed, context)
    }

    #[test]
    fn only_the_same_passphrase_and_context_open_a_seed() {
        let seed = Seed::new([7; 32]);
        let key = WrappingKey::new(&passphrase("correct horse"), CHEAP).unwrap();
        let sealed = key.seal(&seed, |_| "here".to_owned()).unwrap();
        assert_eq!(open(&sealed, "correct horse", "here"), Some(seed.clone()));
        assert_eq!(open(&sealed, "correct horse ", "here"), None);
        assert_eq!(open(&sealed, "correct horse", "there"), None);
        assert_eq!(Unlocking::with(None).open(&sealed, "here"), None);
        let again = key.seal(&seed, |_| "here".to_owned()).unwrap();
        assert_eq!(again.salt, sealed.salt);
        assert_ne!((again.nonce, again.bytes), (sealed.nonce, sealed.bytes));
        let other = WrappingKey::new(&passphrase("correct horse"), CHEAP).unwrap();
        assert_ne!(other.salt, key.salt);
        for bit in 0..SEALED * 8 {
            let mut changed = sealed.clone();
            changed.bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&changed, "correct horse", "here"), None, "bit {bit}");
        }
    }

    #[test]
    fn what_was_sealed_together_opens_with_one_key() {
        let (phrase, seed) = (passphrase("correct horse"), Seed::new([7; 32]));
        let key = WrappingKey::new(&phrase, CHEAP).unwrap();
        let all = [0, 1, 2].map(|_| key.seal(&seed, |_| String::new()).unwrap());
        let mut unlocking = Unlocking::with(Some(&phrase));
        assert!(unlocking.open(&all[0], "").is_some());
        // Whatever is opened from here on is opened with the key that was made.
        unlocking.passphrase = None;
        assert!(all.iter().all(|sealed| unlocking.open(sealed, "").is_some()));
        let other = WrappingKey::new(&phrase, CHEAP).unwrap();
        assert!(unlocking.open(&other.seal(&seed, |_| String::new()).unwrap(), "").is_none());
    }

    #[test]
    fn costs_beyond_the_bounds_are_refused_before_memory_is_taken() {
        let usual = Cost::USUAL;
        assert!(usual.params().is_some());
        for cost in [
            Cost { kib: Cost::MOST_KIB + 1, ..usual },
            Cost { kib: u32::MAX, ..usual },
            Cost { passes: 17, ..usual },
            Cost { lanes: 9, ..usual },
            Cost { passes: 0, ..usual },
            Cost { lanes: 0, ..usual },
            Cost { kib: 0, ..usual },
        ] {
            assert!(cost.params().is_none(), "{cost:?}");
            let sealed = Sealed { cost, salt: [0; SALT], nonce: [0; NONCE], bytes: [0; SEALED] };
            assert_eq!(open(&sealed, "x", ""), None);
        }
    }

    #[test]
    fn passphrases_are_read_from_the_first_line_and_never_printed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("phrase");
        let write = |text: &str| {
            let _old = std::fs::remove_file(&file);
            super::super::file::write_new(&file, text.as_bytes()).unwrap();
        };
        write("correct horse\nbattery\n");
        let read = Passphrase::read(&file).unwrap();
        assert_eq!(read.0.as_str(), "correct horse");
        assert!(!format!("{read:?}").contains("horse"));
        for bad in ["", "\nsecond line\n", &"x".repeat(2000)] {
            write(bad);
            assert_eq!(Passphrase::read(&file).unwrap_err().kind.exit_code(), 2, "{bad:?}");
        }
        assert!(Passphrase::read(&dir.path().join("none")).is_err());
    }
}
