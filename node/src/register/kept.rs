//! What is kept of records though it is hidden: copies under a legal hold.
//!
//! **Invariant:** nothing but what this authority's own people ask for with a legal duty
//! is read this way, never anything that is sent, proved, indexed or exported.
//! Deliberately absent: whether a record is held, which the caller knows.

use tallystick_protocol::body::{Body, Fields};
use tallystick_protocol::entry::Action;
use tallystick_protocol::id::Version;
use tallystick_protocol::record::description;

use super::{RecordKey, Register};
use crate::store::StoreError;

impl Register {
    /// The fields of a version as they are stored here, hidden or not; `None` if
    /// nothing of it is, or it cannot be opened.
    ///
    /// # Errors
    /// [`StoreError`] if the replica fails.
    pub(crate) fn kept(
        &self,
        key: &RecordKey,
        version: Version,
    ) -> Result<Option<Fields>, StoreError> {
        let entry = self.stored(key, version)?;
        let entry = entry.filter(|entry| entry.header().action != Action::Erase);
        let body = entry.as_ref().and_then(|entry| entry.body());
        let fields = body.filter(|body| !matches!(body, Body::Sealed(_))).map(Body::fields);
        Ok(fields.filter(|fields| !fields.is_empty()))
    }

    /// The title of the newest version of which one is kept.
    ///
    /// # Errors
    /// [`StoreError`] if the replica fails.
    pub(crate) fn kept_title(&self, key: &RecordKey) -> Result<Option<String>, StoreError> {
        let versions = self.versions(&key.authority, &key.record)?;
        for (_, info) in versions.iter().rev().filter(|(of, _)| of == key) {
            let Some(of) = info.kind.description() else { continue };
            let kept = self.kept(key, info.version)?;
            let title = kept.as_ref().and_then(|kept| description::text(kept, of.facets.title));
            if let Some(title) = title {
                return Ok(Some(title.to_owned()));
            }
        }
        Ok(None)
    }
}
