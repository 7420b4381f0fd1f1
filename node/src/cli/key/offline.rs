//! A node's data directory while the node is stopped: identity, keys and own log.

use std::path::PathBuf;

use serde_json::{Value, json};
use tallystick_protocol::body::Body;
use tallystick_protocol::checkpoint::{Checkpoint, Origin, UnverifiedCheckpoint, sign};
use tallystick_protocol::group;
use tallystick_protocol::id::{LogId, Space};
use tallystick_protocol::identity::{GroupPin, Head, Identity};
use tallystick_protocol::log::{Frontier, root_at};

use super::Unlock;
use super::brought::GET_A_HEAD;
use crate::cli::Global;
use crate::config::{Config, Place};
use crate::failure::Failure;
use crate::keys::{self, NodeKeys, Passphrase, WrappingKey, change, load_identity, save_identity};
use crate::service::{action_name, failed_store};
use crate::store::{Replica as _, SignedHead, Store, StoreError};

/// Most disowned entries that are listed one by one.
const LISTED: usize = 1000;
const BATCH: u64 = 256;
const BATCH_BYTES: usize = 4 << 20;

/// The lock on a data directory, and what is in it.
pub(super) struct Offline {
    pub(super) place: Place,
    pub(super) identity: Identity,
    store: Store,
    passphrase: Option<Passphrase>,
}

/// What a recovery disowns.
pub(super) struct Disowned {
    /// How many entries.
    pub(super) count: u64,
    /// What the first of them are.
    pub(super) entries: Vec<Value>,
}

impl Offline {
    /// Takes the lock, and ends a change that was interrupted.
    ///
    /// # Errors
    /// A [`Failure`]: no authority there, its node running, files damaged.
    pub(super) fn open(global: &Global) -> Result<Self, Failure> {
        let place = global.place()?;
        let config = Config::load(place.config())?;
        let own = load_identity(place.data(), &config.network)?.authority();
        let store = Store::open(place.data(), &config.store_options(), own).map_err(in_use)?;
        // Under the lock it stays as it is read.
        let identity = load_identity(place.data(), &config.network)?;
        change::settle(place.data(), &identity)?;
        Ok(Self { place, identity, store, passphrase: None })
    }

    /// Takes the passphrase of the working keys, if they lie under one, and gives
    /// the key under which new ones are to lie.
    ///
    /// # Errors
    /// A [`Failure`] if there is none, or it is another one.
    pub(super) fn unlock(&mut self, with: &Unlock) -> Result<Option<WrappingKey>, Failure> {
        self.passphrase = with.source().open(self.place.data())?;
        keys::wrapping_key(self.place.data(), self.passphrase.as_ref())
    }

    pub(super) fn data(&self) -> PathBuf {
        self.place.data().to_owned()
    }

    fn log(&self) -> LogId {
        LogId::public(self.identity.authority(), self.identity.generation())
    }

    /// Entries of the open log.
    pub(super) fn size(&self) -> Result<u64, Failure> {
        let log = self.log();
        let logs = self.store.replica().logs().map_err(failed_store)?;
        Ok(logs.iter().find(|known| known.log == log).map_or(0, |known| known.frontier.size()))
    }

    /// The newest signed head of the open log, of at most `at` entries.
    ///
    /// # Errors
    /// A [`Failure`] if there is none and none can be made, or it is damaged.
    pub(super) fn newest_head(&self, at: Option<u64>) -> Result<Head, Failure> {
        let Some(newest) = self.newest_signed(&self.log(), at)? else { return self.empty_head() };
        let damaged = || Failure::internal("a signed head in the journal does not verify");
        let head = UnverifiedCheckpoint::parse(&newest.note).map_err(|_| damaged())?;
        let (head, _) = self.identity.verify_head(&head).map_err(|_| damaged())?;
        Head::of(&head.attributed()).ok_or_else(damaged)
    }

    fn newest_signed(&self, log: &LogId, at: Option<u64>) -> Result<Option<SignedHead>, Failure> {
        let mut newest: Option<SignedHead> = None;
        let most = at.unwrap_or(u64::MAX);
        let keep = |head: SignedHead| {
            if head.size <= most && newest.as_ref().is_none_or(|known| known.size <= head.size) {
                newest = Some(head);
            }
        };
        self.store.heads(log, keep).map_err(failed_store)?;
        Ok(newest)
    }

    /// Pins of the newest signed heads of this authority's open logs in groups, for the
    /// event that replaces their key; what opens them is kept first.
    ///
    /// # Errors
    /// A [`Failure`] if a head is damaged, or they cannot be kept.
    pub(super) fn pin_groups(&self) -> Result<Vec<GroupPin>, Failure> {
        let own = self.log();
        let is_ours = |log: &LogId| {
            let open = (log.authority, log.generation) == (own.authority, own.generation);
            open && log.space != Space::Public
        };
        let mut heads = Vec::new();
        for known in self.store.replica().logs().map_err(failed_store)? {
            if is_ours(&known.log)
                && let Some(signed) = self.newest_signed(&known.log, None)?
            {
                heads.push(self.group_head(&known.log, &signed)?);
            }
        }
        keys::pins::pin(self.place.data(), heads)
    }

    fn group_head(&self, log: &LogId, signed: &SignedHead) -> Result<Checkpoint, Failure> {
        let head = UnverifiedCheckpoint::parse(&signed.note).ok();
        let origin = group::origin(self.identity.network(), log);
        let head = head.filter(|head| Some(head.claimed_origin()) == origin.as_ref());
        let verified = head.and_then(|head| {
            let mut keys = self.identity.log_keys(log.generation);
            keys.find_map(|(key, _)| head.clone().verify(key).ok())
        });
        verified.map(|head| head.checkpoint().clone()).ok_or_else(|| {
            Failure::internal("a signed head of a group's log in the journal does not verify")
        })
    }

    /// How many entries of the open log are signed.
    pub(super) fn signed_size(&self) -> Result<u64, Failure> {
        Ok(self.newest_signed(&self.log(), None)?.map_or(0, |head| head.size))
    }

    /// The head at which a recovery closes the open log: the newest signed one of at
    /// most `at` entries. Without any, everything would be disowned, so that it is
    /// closed at nothing only if somebody says so.
    pub(super) fn closing_head(&self, at: Option<u64>) -> Result<Head, Failure> {
        let mut signed = false;
        self.store.heads(&self.log(), |_| signed = true).map_err(failed_store)?;
        match (signed, at) {
            (false, None | Some(1..)) => Err(Failure::unavailable(
                "there is no signed head of the log here, and without one everything that this \
                 authority published would be disowned",
                GET_A_HEAD,
            )),
            _ => self.newest_head(at),
        }
    }

    /// Whether a head is of the history that is held here, as far as can be seen.
    pub(super) fn continues(&self, head: &Head) -> Result<bool, Failure> {
        if head.size() > self.size()? {
            return Ok(true);
        }
        let nodes = self.store.replica().nodes(&self.log()).map_err(failed_store)?;
        Ok(root_at(&*nodes, head.size()).is_ok_and(|root| root == head.root()))
    }

    /// Takes over a newer identity of the authority, which was verified.
    pub(super) fn learn(&mut self, identity: Identity) -> Result<(), Failure> {
        if identity != self.identity {
            save_identity(self.place.data(), &identity)?;
            self.identity = identity;
        }
        Ok(())
    }

    /// A head over nothing, for a log of which nothing was signed. The log key
    /// contradicts nothing with it, whatever else it signs.
    fn empty_head(&self) -> Result<Head, Failure> {
        let passphrase = self.passphrase.as_ref();
        let keys = NodeKeys::load(self.place.data(), &self.identity, passphrase);
        let keys = keys.map_err(|failure| {
            Failure::unavailable(
                format!(
                    "there is no signed head to close the log at, and none can be made: {failure}"
                ),
                "give a larger SIZE, or put the newest backup back",
            )
        })?;
        let (network, authority) = (self.identity.network(), self.identity.authority());
        let origin = Origin::public(network, &authority, self.identity.generation());
        let head = Checkpoint::new(origin, 0, Frontier::new().root()).map_err(Failure::internal)?;
        let head = sign(&head, &keys.log).map_err(Failure::internal)?;
        Head::of(&head).ok_or_else(|| Failure::internal("the log is not a public one"))
    }

    /// What lies beyond a head of the open log.
    pub(super) fn beyond(&self, head: &Head) -> Result<Disowned, Failure> {
        let (log, end) = (self.log(), self.size()?);
        let mut entries = Vec::new();
        let mut index = head.size();
        while index < end && entries.len() < LISTED {
            let range = index..end.min(index + BATCH);
            let batch = self.store.replica().entries(&log, range, BATCH_BYTES);
            let batch = batch.map_err(failed_store)?;
            if batch.is_empty() {
                break;
            }
            for stored in batch {
                let Ok(entry) = stored.into_unverified().check() else { continue };
                let header = entry.header();
                let fields = entry.body().map(Body::fields).unwrap_or_default();
                let facets = header.kind.description().map(|known| known.facets(&fields));
                entries.push(json!({
                    "index": index,
                    "kind": header.kind.to_string(),
                    "action": action_name(header.action),
                    "issued": header.issued.as_seconds(),
                    "title": facets.map(|facets| facets.title),
                }));
                index += 1;
            }
        }
        entries.truncate(LISTED);
        Ok(Disowned { count: end.saturating_sub(head.size()), entries })
    }
}

/// What it means that a store will not open for this.
pub(super) fn in_use(error: StoreError) -> Failure {
    match error {
        StoreError::Locked(_) => Failure::unavailable(
            "the node is running, and keys are changed only while it is not",
            "stop it, repeat the command, and start it again",
        ),
        error => failed_store(error),
    }
}
