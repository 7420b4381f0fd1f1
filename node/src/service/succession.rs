//! How contracts go on when a council is merged or split: both ends, for showing.
//!
//! The successor says it, in a record of its own that refers to the
//! predecessor's. **Invariant:** it is *confirmed* only if the identity chain of
//! the predecessor names the author as a successor; everything else is a claim,
//! and shown as one. Deliberately absent: any change of the predecessor's record,
//! which keeps its history and its author.

use tallystick_protocol::body::Fields;
use tallystick_protocol::id::{AuthorityId, RecordId, RecordRef};
use tallystick_protocol::record::{Kind, Record, description};

use super::{Desk, answer};
use crate::acquaintance::Acquaintances;
use crate::failure::Failure;
use crate::register::{Predecessor, RecordKey, Register};
use crate::search::Results;
use crate::store::StoreError;

/// Most continuations of one record that are shown.
const SHOWN: usize = 16;

/// From whom a record goes on, and who goes on from it.
pub(super) type Ends = (Option<answer::Continuation>, Vec<answer::Continuation>);

/// What a new record says of its predecessor has to be said by somebody else;
/// the warning, if others will not believe it.
pub(super) fn judge(
    record: &Record,
    own: &AuthorityId,
    met: &Acquaintances,
) -> Result<Option<String>, Failure> {
    let fields = record.to_fields().map_err(Failure::internal)?;
    match record.description().predecessor(&fields) {
        Some(of) if of.authority == *own => Err(Failure::usage(
            "succession.of: this authority does not succeed itself",
            "publish a new version of the contract instead, with `--replaces REF`",
        )),
        Some(of) if !met.is_successor(own, &of.authority) => Ok(Some(
            "succession.of: its authority has not named this one as a successor, so that others \
             will see an unconfirmed claim"
                .to_owned(),
        )),
        _ => Ok(None),
    }
}

impl Desk {
    /// Both ends of what is known of how a record goes on. Blocks.
    pub(super) fn ends(
        &self,
        met: &Acquaintances,
        (authority, record): (AuthorityId, RecordId),
        kind: Kind,
        fields: &Fields,
    ) -> Result<Ends, StoreError> {
        let view = View { register: self.0.projector.register(), met };
        let before = kind.description().and_then(|kind| kind.predecessor(fields));
        let before = before.map(|of| {
            let of = Predecessor { authority: of.authority, record: of.record };
            let confirmed = met.is_successor(&authority, &of.authority);
            view.continuation(of, fields, confirmed)
        });
        let mut after = Vec::new();
        for key in view.register.successors(&Predecessor { authority, record }, SHOWN)? {
            // Whoever marks its own record says nothing of a successor, nor does a response.
            let current = view.register.current(&key)?;
            if key.authority != authority
                && current.is_some_and(|current| current.newest.kind != Kind::RESPONSE)
                && let Some(fields) = view.register.fields(&key)?
            {
                let confirmed = met.is_successor(&key.authority, &authority);
                let other = Predecessor { authority: key.authority, record: key.record };
                after.push(view.continuation(other, &fields, confirmed)?);
            }
        }
        // What is confirmed first.
        after.sort_by_key(|continuation| !continuation.confirmed);
        Ok((before.transpose()?, after))
    }

    /// Says of each record that was found how it goes on. Blocks.
    pub(super) fn tell_ends(
        &self,
        results: &mut Results,
        met: &Acquaintances,
    ) -> Result<(), StoreError> {
        let register = self.0.projector.register();
        for hit in results.results.iter_mut().filter(|hit| !hit.reference) {
            let Ok(RecordRef { authority, record, .. }) = hit.address.parse() else { continue };
            let Some((key, current)) = register.newest(&authority, &record)? else { continue };
            let fields = match current.predecessor {
                Some(_) => register.fields(&key)?.unwrap_or_default(),
                None => Fields::new(),
            };
            let kind = current.newest.kind;
            (hit.continues, hit.continued_by) =
                self.ends(met, (authority, record), kind, &fields)?;
        }
        Ok(())
    }
}

struct View<'a> {
    register: &'a Register,
    met: &'a Acquaintances,
}

impl View<'_> {
    /// The other end, which is `other`, of what the successor's `fields` say.
    fn continuation(
        &self,
        other: Predecessor,
        fields: &Fields,
        confirmed: bool,
    ) -> Result<answer::Continuation, StoreError> {
        let known = self.met.known(&other.authority)?;
        let (authority_name, known) = known.map(|known| (known.name, known.attribution)).unzip();
        let (authority, record) = (other.authority, other.record);
        let said = |name: &str| {
            description::text(fields, &format!("succession.{name}")).map(str::to_owned)
        };
        Ok(answer::Continuation {
            reference: RecordRef { authority, record, version: None }.to_string(),
            title: self.title(&other)?,
            authority,
            authority_name,
            known,
            kind: said("kind").unwrap_or_default(),
            date: said("date"),
            supplier_agreement_date: said("supplierAgreementDate"),
            confirmed,
        })
    }

    fn title(&self, of: &Predecessor) -> Result<Option<String>, StoreError> {
        let Some((key, current)) = self.register.newest(&of.authority, &of.record)? else {
            return Ok(None);
        };
        let key: RecordKey = key;
        let fields = self.register.fields(&key)?;
        let description = current.newest.kind.description();
        let title = description.zip(fields).map(|(kind, fields)| kind.facets(&fields).title);
        Ok(title.filter(|title| !title.is_empty()))
    }
}
