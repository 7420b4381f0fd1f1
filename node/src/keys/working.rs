//! The keys that work from day to day: which a node reads when it starts, and
//! how new ones take their place.
//!
//! **Invariant:** a key counts only if the newest event of the identity names
//! it; what an interrupted change left in `pending/` is found there.

use std::io;
use std::path::{Path, PathBuf};

use serde_bytes::ByteBuf;
use tallystick_protocol::group::seal::{SealingSecret, Suite, key_id};
use tallystick_protocol::identity::{Identity, SealingKey, WorkingKeys};
use tallystick_protocol::key::{PublicKey, SecretKey};

use super::file::{Purpose, Seed, key_file, random_seed, read_seed, write_new};
use super::{KEYS_DIR, PENDING_DIR};
use crate::failure::Failure;

/// HPKE KEM identifier of DHKEM(X25519, HKDF-SHA256): RFC 9180 section 7.1.
const KEM_X25519: u16 = 0x0020;
/// What the names of files with replaced sealing keys begin with.
const RETIRED_SEALING: &str = "sealing-";

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
    /// A [`Failure`]: missing, damaged, readable for others, somebody else's, or
    /// replaced since.
    pub fn load(data: &Path, identity: &Identity) -> Result<Self, Failure> {
        let key = |purpose| find(data, purpose, identity).map(|seed| SecretKey::from_seed(*seed));
        let sealing = find(data, Purpose::Sealing, identity)?;
        Ok(Self {
            log: key(Purpose::Log)?,
            witness: key(Purpose::Witness)?,
            node: key(Purpose::Node)?,
            sealing: std::iter::once(sealing).chain(retired_sealing(data)).map(opening).collect(),
        })
    }
}

fn opening(seed: Seed) -> SealingSecret {
    SealingSecret::from_seed(Suite::X25519, *seed)
}

/// The file of a sealing key that was replaced.
pub(super) fn retired_sealing_file(seed: &Seed) -> String {
    let id = u64::from_be_bytes(key_id(&sealing(seed)));
    format!("{RETIRED_SEALING}{id:016x}.key")
}

/// The sealing keys that were replaced, as far as they can be read.
fn retired_sealing(data: &Path) -> Vec<Seed> {
    let entries = std::fs::read_dir(data.join(KEYS_DIR)).into_iter().flatten().flatten();
    let named = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with(RETIRED_SEALING))
    };
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).filter(named).collect();
    paths.sort();
    let read = |path: &PathBuf| {
        let seed = read_seed(path, Purpose::Sealing);
        let warned = seed.inspect_err(|failure| tracing::warn!(%failure, "old sealing key"));
        warned.ok()
    };
    paths.iter().filter_map(read).collect()
}

/// The seed of the key that `identity` names for a purpose.
pub(super) fn find(data: &Path, purpose: Purpose, identity: &Identity) -> Result<Seed, Failure> {
    let read = |dir: &str| read_seed(&data.join(dir).join(purpose.file()), purpose);
    let installed = read(KEYS_DIR);
    let pending = read(PENDING_DIR).ok();
    let mut all = installed.as_ref().ok().into_iter().chain(&pending);
    if let Some(seed) = all.find(|seed| belongs(purpose, seed, identity)) {
        return Ok(seed.clone());
    }
    installed?;
    Err(Failure::usage(
        format!(
            "the keys in {} are not those of this identity's newest event",
            data.join(KEYS_DIR).display()
        ),
        "put keys and identity.cbor back from the same, newest backup",
    ))
}

/// Whether the newest event of `identity` names this key for the purpose.
pub(super) fn belongs(purpose: Purpose, seed: &Seed, identity: &Identity) -> bool {
    let public = || public(seed);
    match purpose {
        Purpose::Log => public() == *identity.log_key(),
        Purpose::Witness => public() == *identity.witness_key(),
        Purpose::Node => identity.node_keys().contains(&public()),
        Purpose::Sealing => sealing(seed) == *identity.sealing_key(),
        Purpose::Controller | Purpose::NextController => false,
    }
}

fn public(seed: &Seed) -> PublicKey {
    SecretKey::from_seed(**seed).public()
}

fn sealing(seed: &Seed) -> SealingKey {
    let key = x25519_dalek::x25519(**seed, x25519_dalek::X25519_BASEPOINT_BYTES);
    SealingKey { kem: KEM_X25519, key: ByteBuf::from(key.to_vec()) }
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
            log: public(seed(Purpose::Log)?),
            witness: public(seed(Purpose::Witness)?),
            nodes: vec![public(seed(Purpose::Node)?)],
            sealing: sealing(seed(Purpose::Sealing)?),
        })
    }

    /// Puts them in the place of those of `keys`; of several nodes it is `node`
    /// that gets a new key.
    pub(super) fn replace_in(&self, keys: &mut WorkingKeys, node: Option<&PublicKey>) {
        for (purpose, seed) in &self.0 {
            match purpose {
                Purpose::Log => keys.log = public(seed),
                Purpose::Witness => keys.witness = public(seed),
                Purpose::Sealing => keys.sealing = sealing(seed),
                Purpose::Node => match keys.nodes.iter_mut().find(|key| Some(&**key) == node) {
                    Some(key) => *key = public(seed),
                    None => keys.nodes = vec![public(seed)],
                },
                Purpose::Controller | Purpose::NextController => {}
            }
        }
    }

    /// Writes their files into `dir`, which has none of them yet.
    pub(super) fn write(&self, dir: &Path) -> io::Result<()> {
        for (purpose, seed) in &self.0 {
            write_new(&dir.join(purpose.file()), key_file(*purpose, seed).as_bytes())?;
        }
        Ok(())
    }
}

/// The public half of the node key that lies in the data directory, if one does.
pub(super) fn installed_node(data: &Path) -> Option<PublicKey> {
    let path = data.join(KEYS_DIR).join(Purpose::Node.file());
    read_seed(&path, Purpose::Node).ok().map(|seed| public(&seed))
}
