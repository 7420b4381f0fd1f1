//! Proofs at the desk: one file from which anybody can verify a record.
//!
//! **Invariants:** a file shows what this node may show now: what is erased or hidden
//! stays out, and what is sealed and does not open here is not proved. A file about
//! what was said in a group names neither the group nor its members, nor who
//! cosigned. Deliberately absent: asking whether it may leave the group, which the
//! command line does.

use tallystick_protocol::body::Body;
use tallystick_protocol::checkpoint::{UnverifiedCheckpoint, VerifiedCheckpoint};
use tallystick_protocol::entry::{Entry, UnverifiedEntry};
use tallystick_protocol::erasure::Scope;
use tallystick_protocol::id::{Hash, LogId, Space, Version};
use tallystick_protocol::identity::{GroupKeyStanding, Identity, KeyStanding, PinOpening};
use tallystick_protocol::log::{Nodes, consistency_proof, inclusion_proof};
use tallystick_protocol::proof::record::{RecordProofWriteError, assemble, assemble_in_group};

use super::erasing::scope;
use super::fault::gone;
use super::record::held_back;
use super::{Desk, blocking, failed_store};
use crate::failure::Failure;
use crate::register::RecordKey;

impl Desk {
    /// The file from which anybody can verify a record, showing the `fields` named and
    /// those below them; without names, all that this node can show.
    ///
    /// # Errors
    /// A [`Failure`] if the text means no record, it has no such field to show, this
    /// node cannot open it, or no signed head covers it yet.
    pub async fn prove(&self, text: &str, fields: &[String]) -> Result<Vec<u8>, Failure> {
        let (desk, text, shown) = (self.clone(), text.to_owned(), scope(fields)?);
        let (key, version, entry) = blocking(move || {
            desk.settle_register()?;
            let found = desk.find(&text)?;
            let version = found.version.unwrap_or(found.current.newest.version);
            let entry = desk.0.projector.register().entry(&found.key, version);
            let entry = entry.map_err(failed_store)?.ok_or_else(gone)?;
            Ok::<_, Failure>((found.key, version, showing(entry, &shown)?))
        })
        .await??;
        let RecordKey { authority, space, .. } = key;
        let log = LogId { authority, space, generation: version.generation };
        let identity = self.0.handle.identity(authority).await.ok_or_else(gone)?;
        let held = self.0.handle.head(log).await;
        let (desk, replica) = (self.clone(), self.0.handle.replica());
        blocking(move || {
            let nodes = replica.nodes(&log).map_err(failed_store)?;
            if space == Space::Public {
                return in_public(&identity, &entry, version, held, &*nodes);
            }
            let covers = |head: &VerifiedCheckpoint| head.checkpoint().size() > version.index;
            let head = held.filter(covers).ok_or_else(not_signed_yet)?;
            let (by, pins) = ((&identity, &log), &desk.0.pins);
            in_group(by, &entry, version.index, &head, pins, &*nodes)
        })
        .await?
    }
}

fn in_public(
    identity: &Identity,
    entry: &Entry,
    version: Version,
    held: Option<VerifiedCheckpoint>,
    nodes: &dyn Nodes,
) -> Result<Vec<u8>, Failure> {
    let (head, to_pin) = counting_head(identity, held, version, nodes)?;
    let hashes = inclusion_proof(nodes, version.index, head.checkpoint().size());
    let hashes = hashes.map_err(Failure::internal)?;
    assemble(identity, entry, version.index, &hashes, &head, &to_pin).map_err(unwritable)
}

/// As [`in_public`]. A head under a key that was replaced counts if one of the `pins`
/// opens what the author's chain says of its group logs.
fn in_group(
    (identity, log): (&Identity, &LogId),
    entry: &Entry,
    index: u64,
    head: &VerifiedCheckpoint,
    pins: &[PinOpening],
    nodes: &dyn Nodes,
) -> Result<Vec<u8>, Failure> {
    let size = head.checkpoint().size();
    let signed = UnverifiedCheckpoint::parse(&head.to_bytes()).map_err(Failure::internal)?;
    let mut keys = identity.group_log_keys(signed.claimed_origin(), log.generation, pins);
    let standing = keys.find(|(key, _)| signed.clone().verify(key).is_ok());
    let pin = match standing.map(|(_, standing)| standing) {
        Some(GroupKeyStanding::Current) => None,
        Some(GroupKeyStanding::Retired(pin)) => {
            // Beyond the pinned head there is nothing that leads to it.
            let to_pin = consistency_proof(nodes, size, pin.head().size());
            Some((pin, to_pin.map_err(|_| unproved(identity, log))?))
        }
        _ => return Err(unproved(identity, log)),
    };
    let hashes = inclusion_proof(nodes, index, size).map_err(Failure::internal)?;
    let retired = pin.as_ref().map(|(pin, to_pin)| (*pin, &to_pin[..]));
    assemble_in_group(identity, log, entry, (index, &hashes), head, retired).map_err(unwritable)
}

/// What it means that no head of a group's log counts.
fn unproved(identity: &Identity, log: &LogId) -> Failure {
    if log.generation == identity.generation() {
        return Failure::unavailable(
            "its author has replaced the key under which this was signed, and only a head under \
             the new one counts for others",
            "repeat the command when the author has said something more to the group, or ask it \
             for a proof",
        );
    }
    Failure::no(
        "its author has closed the log in which this was said to the group",
        "ask the author for a proof, or to share the record again",
    )
}

fn unwritable(error: RecordProofWriteError) -> Failure {
    match error {
        RecordProofWriteError::Key(_) => not_signed_yet(),
        error => Failure::internal(error),
    }
}

/// The entry with the fields named only.
fn showing(entry: Entry, shown: &Scope) -> Result<Entry, Failure> {
    if matches!(entry.body(), Some(Body::Sealed(_))) {
        return Err(held_back());
    }
    let Scope::Fields(names) = shown else { return Ok(entry) };
    let fields = entry.body().map(Body::fields).unwrap_or_default();
    let has = |wanted: &Scope| fields.iter().any(|(name, _)| wanted.covers(name.as_str()));
    for name in names {
        if !has(&Scope::Fields([name.clone()].into())) {
            return Err(Failure::usage(
                format!("this version of the record has no field {name} that can be shown"),
                "`tally show REF --json` shows the names, joined by dots",
            ));
        }
    }
    let covered = |name: &str| shown.covers(name);
    let body = match entry.body() {
        Some(Body::Full(body)) => body.disclose(covered),
        Some(Body::Partial(body)) => body.disclose(covered),
        _ => return Ok(entry),
    };
    let body = Body::Partial(body.map_err(Failure::internal)?).into_bytes();
    let (header, _) = entry.into_bytes();
    UnverifiedEntry::new(header, Some(body)).check().map_err(Failure::internal)
}

/// The signed head under which a version is proved: the one held, if it counts or
/// leads to one that does; else one that the author's identity pins. With it
/// what leads from it to the head at which its key retired.
fn counting_head(
    identity: &Identity,
    held: Option<VerifiedCheckpoint>,
    version: Version,
    nodes: &dyn Nodes,
) -> Result<(VerifiedCheckpoint, Vec<Hash>), Failure> {
    if identity.closing(version.generation).is_some_and(|head| head.size() <= version.index) {
        return Err(Failure::no(
            "its author has disowned this version of the record",
            "the log was closed before it, after keys were stolen or lost; ask the author",
        ));
    }
    let verified = |note: &[u8]| {
        let head = UnverifiedCheckpoint::parse(note).ok()?;
        identity.verify_head(&head).ok()
    };
    let held =
        held.and_then(|held| verified(&held.to_bytes()).map(|(_, standing)| (held, standing)));
    let covers = |head: &VerifiedCheckpoint| head.checkpoint().size() > version.index;
    match held.filter(|(head, _)| covers(head)) {
        Some((head, KeyStanding::Current)) => return Ok((head, Vec::new())),
        Some((head, KeyStanding::Retired(pin))) => {
            // Beyond the pinned head, or as long as the log here does not reach it, there is none.
            if let Ok(to_pin) = consistency_proof(nodes, head.checkpoint().size(), pin.size()) {
                return Ok((head, to_pin));
            }
        }
        None => {}
    }
    let pins = identity.log_keys(version.generation).filter_map(|(_, standing)| match standing {
        KeyStanding::Retired(pin) => verified(pin.note()).map(|(head, _)| head),
        KeyStanding::Current => None,
    });
    pins.into_iter().find(covers).map(|head| (head, Vec::new())).ok_or_else(not_signed_yet)
}

fn not_signed_yet() -> Failure {
    Failure::unavailable(
        "no signed log head covers this record yet",
        "wait until `tally status` shows the log as current, then repeat the command",
    )
}
