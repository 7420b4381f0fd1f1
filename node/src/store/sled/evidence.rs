//! Evidence in the replica on disk: change counter, length and, if it is short,
//! the bytes themselves; longer ones in pieces. What is kept and what gives way
//! is decided in [`crate::store::evidence`], in one batch.

use ::sled::Batch;
use tallystick_protocol::id::AuthorityId;
use tallystick_protocol::sync::StoredEvidence;

use super::piece::{self, Owner};
use super::{PIECE_BYTES, SledReplica, key};
use crate::store::StoreError;
use crate::store::evidence::{Slot, check, room};
use crate::store::layout::Fields;

impl SledReplica {
    /// What is kept of one authority or of all, in order.
    pub(super) fn kept_evidence(
        &self,
        of: Option<&AuthorityId>,
    ) -> Result<Vec<(Slot, StoredEvidence)>, StoreError> {
        let prefix = match of {
            Some(authority) => key::of_authority(key::EVIDENCE, authority).to_vec(),
            None => vec![key::EVIDENCE],
        };
        let mut kept = Vec::new();
        for item in self.db.scan_prefix(prefix) {
            let (key, value) = item.map_err(|error| self.failed(error))?;
            let damaged = || StoreError::damaged("evidence in the replica");
            let slot = key::slot(&key).ok_or_else(damaged)?;
            let mut fields = Fields::new(&value);
            let (changed, len) = fields.u64().zip(fields.u32()).ok_or_else(damaged)?;
            let bytes = match len as usize {
                len if len <= PIECE_BYTES => {
                    let bytes = fields.bytes(len).filter(|_| fields.is_empty());
                    bytes.ok_or_else(damaged)?.to_vec()
                }
                _ => self.join(&Owner::Evidence(&slot), len)?,
            };
            let Slot { authority, kind, place, .. } = slot;
            kept.push((slot, StoredEvidence { authority, kind, place, bytes, changed }));
        }
        Ok(kept)
    }

    /// Keeps evidence, if it adds anything.
    pub(super) fn keep_evidence(&self, new: &StoredEvidence) -> Result<bool, StoreError> {
        check(new)?;
        let _writing = self.lock();
        let kept = self.kept_evidence(Some(&new.authority))?;
        let Some(room) = room(kept.iter().map(|(slot, known)| (*slot, known)), new) else {
            return Ok(false);
        };
        let mut batch = Batch::default();
        if let Some((slot, old)) = kept.iter().find(|(slot, _)| Some(*slot) == room.evicted) {
            batch.remove(key::evidence(slot));
            if old.bytes.len() > PIECE_BYTES {
                piece::discard(&Owner::Evidence(slot), old.bytes.len(), &mut batch);
            }
        }
        let len = u32::try_from(new.bytes.len()).map_err(|_| StoreError::TooLarge("evidence"))?;
        let mut value = new.changed.to_be_bytes().to_vec();
        value.extend_from_slice(&len.to_be_bytes());
        if new.bytes.len() > PIECE_BYTES {
            piece::split(&Owner::Evidence(&room.slot), &new.bytes, &mut batch);
        } else {
            value.extend_from_slice(&new.bytes);
        }
        batch.insert(key::evidence(&room.slot), value);
        self.apply(batch)?;
        Ok(true)
    }
}
