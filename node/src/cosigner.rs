//! The witness at work: says of other authorities' logs that it saw one history.
//!
//! Only public logs of this network are witnessed, of authorities whose identity
//! is known here, under their current log key and generation; any other origin
//! is unknown, so that the answer tells nothing about groups. The decision is
//! the protocol's ([`tallystick_protocol::witness`]); it is made on the storage
//! thread, and is in the journal, fsynced, before the signature exists.
//!
//! **Invariants:** what was cosigned is never contradicted, whoever asks and
//! however often; a log that grows is cosigned once a second, so that nobody
//! can fill the journal with heads; one with two histories is cosigned no more.
//! Deliberately absent: HTTP (see [`crate::publication`]), and asking others
//! to cosign our own log.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tallystick_protocol::checkpoint::{Origin, witness_key};
use tallystick_protocol::id::{AuthorityId, LogId, NetworkName};
use tallystick_protocol::key::SecretKey;
use tallystick_protocol::note::{SignatureLine, VerifierKey};
use tallystick_protocol::witness::{
    COSIGN_PAUSE, Decision, Refusal, Seen, UnverifiedRequest, VerifiedRequest, decide, newest_seen,
};

use crate::driver::{Handle, unix_time};
use crate::store::Replica;

/// Why there is no cosignature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CosignError {
    /// The witness says no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A head of this log was cosigned less than a second ago.
    #[error("a head of this log was cosigned a moment ago")]
    TooSoon,
    /// The node is stopping, or its clock or disk cannot be relied upon.
    #[error("the witness cannot sign now")]
    Unavailable,
}

/// When a log was cosigned at a larger size than before.
#[derive(Clone, Copy, Debug)]
struct Growth {
    at: Instant,
    size: u64,
}

/// Cosigns for one authority.
pub struct Cosigner {
    handle: Handle,
    network: NetworkName,
    own: AuthorityId,
    key: SecretKey,
    verifier: VerifierKey,
    /// The last growth of each log; no more logs than authorities are known.
    last: Mutex<BTreeMap<LogId, Growth>>,
}

impl Cosigner {
    /// The witness of `own`, signing with its witness key.
    #[must_use]
    pub fn new(handle: Handle, network: NetworkName, own: AuthorityId, key: SecretKey) -> Self {
        let verifier = witness_key(&network, &own, key.public());
        Self { handle, network, own, key, verifier, last: Mutex::default() }
    }

    /// The key by which its cosignatures are verified.
    #[must_use]
    pub const fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Answers a request with the cosignature it asks for.
    ///
    /// # Errors
    /// A [`CosignError`].
    pub async fn cosign(&self, request: UnverifiedRequest) -> Result<SignatureLine, CosignError> {
        let log = self.witnessed_log(request.claimed_origin()).ok_or(Refusal::UnknownLog)?;
        let known = self.handle.witnessed(log).await.ok_or(Refusal::UnknownLog)?;
        if known.identity.generation() != log.generation {
            return Err(Refusal::UnknownLog.into());
        }
        let request = request.verify(known.identity.log_key())?;
        let held = known.head.as_ref().map(Seen::from);
        if known.disputed {
            return Err(Refusal::Contradicts(held.map_or(0, |held| held.size)).into());
        }
        let before = self.claim(&log, request.head().checkpoint().size())?;
        let replica = self.handle.replica();
        let decide = move |cosigned| judge(&*replica, &log, cosigned, held, request);
        let decided = self.handle.cosign(log, decide).await;
        if !matches!(decided, Some(Ok(_))) {
            self.give_back(log, before);
        }
        let decision = decided.ok_or(CosignError::Unavailable)??;
        let line = decision.cosign(self.verifier.name(), &self.key, unix_time());
        line.map_err(|_| CosignError::Unavailable)
    }

    /// The public log of another authority of this network that an origin names.
    fn witnessed_log(&self, origin: &Origin) -> Option<LogId> {
        let (network, authority, generation) = origin.public_log()?;
        let witnessed = network == self.network && authority != self.own;
        witnessed.then(|| LogId::public(authority, generation))
    }

    /// Takes the one growth of a log that a second allows, and gives what was
    /// taken before. What does not grow needs no room in the journal, so whoever
    /// repeats old heads holds up nobody.
    fn claim(&self, log: &LogId, size: u64) -> Result<Option<Growth>, CosignError> {
        let now = Instant::now();
        let mut last = self.last();
        let before = last.get(log).copied();
        match before {
            Some(before) if size <= before.size => return Ok(Some(before)),
            Some(before) if now.duration_since(before.at) < COSIGN_PAUSE => {
                return Err(CosignError::TooSoon);
            }
            _ => {}
        }
        last.insert(*log, Growth { at: now, size });
        Ok(before)
    }

    /// Undoes a claim of which nothing came.
    fn give_back(&self, log: LogId, before: Option<Growth>) {
        let mut last = self.last();
        match before {
            Some(before) => last.insert(log, before),
            None => last.remove(&log),
        };
    }

    fn last(&self) -> MutexGuard<'_, BTreeMap<LogId, Growth>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Decides what the protocol says about a log of which there is a copy here.
fn judge(
    replica: &dyn Replica,
    log: &LogId,
    cosigned: Option<Seen>,
    held: Option<Seen>,
    request: VerifiedRequest,
) -> Result<Decision, Refusal> {
    let copy = replica.nodes(log).map_err(|error| {
        tracing::error!(%error, "cannot read a log that is to be cosigned");
        Refusal::Unproven
    })?;
    decide(newest_seen(cosigned, held, &*copy)?, request)
}
