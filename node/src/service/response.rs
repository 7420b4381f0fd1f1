//! Responses: what others say to a record, listed under it.
//!
//! **Invariant:** a response goes to no wider audience than what it answers, nor any
//! record than what it refers to, or it would tell outsiders of it. Deliberately absent: any judgement of responses; who
//! says it, and how that name is known, stands beside each.

use tallystick_protocol::body::Fields;
use tallystick_protocol::id::{RecordRef, Space};
use tallystick_protocol::record::{Kind, Record, description};

use super::{Desk, answer, failed_store};
use crate::acquaintance::Acquaintances;
use crate::failure::Failure;
use crate::register::{Predecessor, RecordKey};
use crate::store::StoreError;

/// Most responses to one record that are shown.
const SHOWN: usize = 64;

impl Desk {
    /// The responses to a record, the newest first. Blocks.
    pub(super) fn responses(
        &self,
        met: &Acquaintances,
        to: &RecordKey,
    ) -> Result<Vec<answer::ResponseView>, StoreError> {
        let register = self.0.projector.register();
        let of = Predecessor { authority: to.authority, record: to.record };
        let mut found = Vec::new();
        for key in register.successors(&of, SHOWN)? {
            let Some(current) = register.current(&key)? else { continue };
            if current.newest.kind != Kind::RESPONSE {
                continue;
            }
            let Some(fields) = register.fields(&key)? else { continue };
            let (authority, record) = (key.authority, key.record);
            let known = met.known(&authority)?;
            let (authority_name, known) =
                known.map(|known| (known.name, known.attribution)).unzip();
            found.push(answer::ResponseView {
                reference: RecordRef { authority, record, version: None }.to_string(),
                authority,
                authority_name,
                known,
                issued: current.newest.issued.as_seconds(),
                answer: said(&fields, "answer").unwrap_or_default(),
                text: said(&fields, "text"),
                mailbox: said(&fields, "mailbox"),
                until: said(&fields, "until"),
                supplier: said(&fields, "supplier.name"),
            });
        }
        found.sort_by_key(|response| core::cmp::Reverse(response.issued));
        Ok(found)
    }

    /// Refuses a record that names, in whatever field, something that not
    /// everybody in its audience may know of: what it answers, the contract it
    /// assesses, the one it replaces.
    pub(super) fn refuse_wider_reference(
        &self,
        record: &Record,
        space: Space,
    ) -> Result<(), Failure> {
        let fields = record.to_fields().map_err(Failure::internal)?;
        let register = self.0.projector.register();
        for (name, _) in fields.iter().map(|(name, value)| (name.as_str(), value)) {
            let of = description::text(&fields, name).and_then(|text| text.trim().parse().ok());
            let Some(RecordRef { authority, record, .. }) = of else { continue };
            let found = register.newest(&authority, &record).map_err(failed_store)?;
            if found.is_some_and(|(key, _)| key.space != Space::Public && key.space != space)
                && !name.starts_with("extract.")
            {
                return Err(Failure::usage(
                    format!("{name} names what is shared in a group, and others would learn of it"),
                    "share it in the same group, with --into GROUP, or leave the reference out",
                ));
            }
        }
        Ok(())
    }
}

fn said(fields: &Fields, name: &str) -> Option<String> {
    description::text(fields, name).map(str::to_owned)
}
