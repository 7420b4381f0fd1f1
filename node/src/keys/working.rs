//! The keys that work from day to day: which a node reads when it starts, and
//! how new ones take their place.
//!
//! **Invariant:** a key counts only if the newest event of the identity names
//! it; what an interrupted change left in `pending/` is found there.

use std::io;
use std::path::{Path, PathBuf};

use tallystick_protocol::group::seal::{SealingSecret, Suite, key_id};
use tallystick_protocol::identity::{Identity, WorkingKeys};
use tallystick_protocol::key::{PublicKey, SecretKey};

use super::file::{KeyFile, Public, Purpose, Seed, random_seed, sealing_key, signing_key};
use super::passphrase::{Passphrase, Unlocking, WrappingKey};
use super::{KEYS_DIR, PENDING_DIR};
use crate::failure::Failure;

/// What the names of files with replaced sealing keys begin and end with.
const RETIRED_SEALING: (&str, &str) = ("sealing-", ".key");

/// The secrets that a running node works with.
#[derive(Debug)]
pub struct NodeKeys {
    /// Signs checkpoints.
    pub log: SecretKey,
    /// Cosigns others' checkpoints.
    pub witness: SecretKey,
    /// The libp2p identity; signs cards.
    pub node: SecretKey,
    /// Open what is sealed to this authority: the key that the newest event
    /// names, then those it had before.
    pub sealing: Vec<SealingSecret>,
}

impl NodeKeys {
    /// Reads the keys and checks that the newest event of `identity` names them.
    ///
    /// # Errors
    /// A [`Failure`]: missing, damaged, readable for others, somebody else's,
    /// replaced since, or under a passphrase that is not this one.
    pub fn load(
        data: &Path,
        identity: &Identity,
        passphrase: Option<&Passphrase>,
    ) -> Result<Self, Failure> {
        // What was protected together costs one derivation.
        let mut unlocking = Unlocking::with(passphrase);
        let mut seed = |purpose| find(data, purpose, identity)?.open(&mut unlocking);
        let mut key = |purpose| seed(purpose).map(|seed| SecretKey::from_seed(*seed));
        let (log, witness, node) =
            (key(Purpose::Log)?, key(Purpose::Witness)?, key(Purpose::Node)?);
        let sealing = seed(Purpose::Sealing)?;
        let old = retired_sealing(data, &mut unlocking);
        let sealing = std::iter::once(sealing).chain(old).map(opening).collect();
        Ok(Self { log, witness, node, sealing })
    }
}

pub(super) fn opening(seed: Seed) -> SealingSecret {
    SealingSecret::from_seed(Suite::X25519, *seed)
}

/// The file of a sealing key that was replaced; `None` of a key that signs.
pub(super) fn retired_sealing_file(key: &Public) -> Option<String> {
    let Public::Sealing(key) = key else { return None };
    let (start, end) = RETIRED_SEALING;
    Some(format!("{start}{:016x}{end}", u64::from_be_bytes(key_id(key))))
}

/// The files of sealing keys that were replaced.
pub(super) fn retired_sealing_files(data: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(data.join(KEYS_DIR)).into_iter().flatten().flatten();
    let named = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        let (start, end) = RETIRED_SEALING;
        name.is_some_and(|name| name.starts_with(start) && name.ends_with(end))
    };
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).filter(named).collect();
    paths.sort();
    paths
}

/// The sealing keys that were replaced, as far as they can be read.
fn retired_sealing(data: &Path, unlocking: &mut Unlocking<'_>) -> Vec<Seed> {
    let read = |path: &PathBuf| {
        let file = KeyFile::read(path, Purpose::Sealing);
        let seed = file.and_then(|file| file.open(unlocking));
        seed.inspect_err(|failure| tracing::warn!(%failure, "old sealing key")).ok()
    };
    retired_sealing_files(data).iter().filter_map(read).collect()
}

/// The file of the key that `identity` names for a purpose.
pub(super) fn find(data: &Path, purpose: Purpose, identity: &Identity) -> Result<KeyFile, Failure> {
    let read = |dir: &str| KeyFile::read(&data.join(dir).join(purpose.file()), purpose);
    let (installed, pending) = (read(KEYS_DIR), read(PENDING_DIR));
    let lacks = installed.as_ref().err().cloned();
    let mut all = installed.into_iter().chain(pending);
    if let Some(file) = all.find(|file| belongs(file, identity)) {
        return Ok(file);
    }
    Err(lacks.unwrap_or_else(|| {
        Failure::usage(
            format!(
                "the keys in {} are not those of this identity's newest event",
                data.join(KEYS_DIR).display()
            ),
            "put keys and identity.cbor back from the same, newest backup",
        )
    }))
}

/// Checks that the keys which the newest event of `identity` names are here, without
/// opening those that lie under a passphrase.
///
/// # Errors
/// As [`NodeKeys::load`], the passphrase excepted.
pub fn are_here(data: &Path, identity: &Identity) -> Result<(), Failure> {
    Purpose::WORKING.into_iter().try_for_each(|purpose| find(data, purpose, identity).map(|_| ()))
}

/// Whether the newest event of `identity` names this key for its purpose.
pub(super) fn belongs(file: &KeyFile, identity: &Identity) -> bool {
    match (file.purpose(), file.public()) {
        (Purpose::Log, Public::Signing(key)) => key == identity.log_key(),
        (Purpose::Witness, Public::Signing(key)) => key == identity.witness_key(),
        (Purpose::Node, Public::Signing(key)) => identity.node_keys().contains(key),
        (Purpose::Sealing, Public::Sealing(key)) => key == identity.sealing_key(),
        _ => false,
    }
}

/// Which working keys are replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Renewal {
    /// The key that signs checkpoints.
    pub log: bool,
    /// The key that cosigns others'.
    pub witness: bool,
    /// The libp2p identity of this node. Its partners need its new card then.
    pub node: bool,
    /// The key that receives group secrets.
    pub sealing: bool,
}

impl Renewal {
    /// All of them.
    pub const ALL: Self = Self { log: true, witness: true, node: true, sealing: true };

    fn purposes(self) -> impl Iterator<Item = Purpose> {
        let chosen = [
            (self.log, Purpose::Log),
            (self.witness, Purpose::Witness),
            (self.node, Purpose::Node),
            (self.sealing, Purpose::Sealing),
        ];
        chosen.into_iter().filter_map(|(chosen, purpose)| chosen.then_some(purpose))
    }
}

/// New working keys, not in force yet.
pub(super) struct Fresh(Vec<(Purpose, Seed)>);

impl Fresh {
    pub(super) fn make(renewal: Renewal) -> Result<Self, Failure> {
        let made = renewal.purposes().map(|purpose| Ok((purpose, random_seed()?)));
        made.collect::<Result<_, _>>().map(Self)
    }

    /// The working keys of a new authority; there must be one for each purpose.
    pub(super) fn all_public(&self) -> Result<WorkingKeys, Failure> {
        let seed = |wanted: Purpose| {
            let found = self.0.iter().find(|(purpose, _)| *purpose == wanted);
            found.map(|(_, seed)| seed).ok_or_else(|| Failure::internal("a key was not made"))
        };
        Ok(WorkingKeys {
            log: signing_key(seed(Purpose::Log)?),
            witness: signing_key(seed(Purpose::Witness)?),
            nodes: vec![signing_key(seed(Purpose::Node)?)],
            sealing: sealing_key(seed(Purpose::Sealing)?),
        })
    }

    /// Puts them in the place of those of `keys`; of several nodes it is `node`
    /// that gets a new key.
    pub(super) fn replace_in(&self, keys: &mut WorkingKeys, node: Option<&PublicKey>) {
        for (purpose, seed) in &self.0 {
            match purpose {
                Purpose::Log => keys.log = signing_key(seed),
                Purpose::Witness => keys.witness = signing_key(seed),
                Purpose::Sealing => keys.sealing = sealing_key(seed),
                Purpose::Node => match keys.nodes.iter_mut().find(|key| Some(&**key) == node) {
                    Some(key) => *key = signing_key(seed),
                    None => keys.nodes = vec![signing_key(seed)],
                },
                Purpose::Controller | Purpose::NextController => {}
            }
        }
    }

    /// Writes their files into `dir`, which has none of them yet; under `key` if
    /// there is one.
    pub(super) fn write(
        &self,
        dir: &Path,
        key: Option<&WrappingKey>,
        failed: impl Fn(io::Error) -> Failure,
    ) -> Result<(), Failure> {
        self.0.iter().try_for_each(|(purpose, seed)| {
            let file = KeyFile::new(&dir.join(purpose.file()), *purpose, seed.clone(), key)?;
            file.write_new().map_err(&failed)
        })
    }
}

/// The public half of the node key that lies in the data directory, if one does.
pub(super) fn installed_node(data: &Path) -> Option<PublicKey> {
    let path = data.join(KEYS_DIR).join(Purpose::Node.file());
    match KeyFile::read(&path, Purpose::Node).ok()?.public() {
        Public::Signing(key) => Some(*key),
        Public::Sealing(_) => None,
    }
}
