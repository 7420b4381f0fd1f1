//! What holders answer to erasures: the rows that their answers make.
//!
//! **Invariant:** an answer counts only in the space in which the erasure stands. Deliberately absent: whether a holder tells
//! the truth.

use std::collections::BTreeMap;

use tallystick_protocol::erasure::{Answer, Erasure, Outcome};
use tallystick_protocol::id::{AuthorityId, LogId, Version};

use super::key::{ANSWERS, answer_value, read_answer_value};
use super::{Draft, Reading, Register};
use crate::store::StoreError;

impl Register {
    /// What each holder has answered to the erasure that stands in `log`, and where.
    ///
    /// # Errors
    /// [`StoreError`] if the replica fails.
    pub fn answers(
        &self,
        log: &LogId,
        erasure: &Erasure,
    ) -> Result<BTreeMap<AuthorityId, (Version, Outcome)>, StoreError> {
        let prefix = ANSWERS.about(&Answer::id(&log.authority, &erasure.record, erasure.at));
        self.newest_words(ANSWERS, (&prefix, log.space), read_answer_value)
    }

    /// What `holder` has answered last, and where.
    ///
    /// # Errors
    /// [`StoreError`] if the replica fails.
    pub fn answer_by(
        &self,
        holder: &AuthorityId,
        log: &LogId,
        erasure: &Erasure,
    ) -> Result<Option<(Version, Outcome)>, StoreError> {
        let id = Answer::id(&log.authority, &erasure.record, erasure.at);
        let prefix = ANSWERS.by(&id, holder);
        let newest = self.newest_words(ANSWERS, (&prefix, log.space), read_answer_value)?;
        Ok(newest.into_values().next())
    }
}

impl Draft<'_> {
    /// Takes in an entry of `log`, if it answers an erasure and may be read here.
    pub(super) fn answer(&mut self, log: &LogId, reading: &Reading) {
        let said = reading.fields.as_ref().and_then(|said| Answer::read(&reading.header, said));
        if let Some(answer) = said {
            let row = ANSWERS.row(&reading.header.record, log, reading.version.index);
            self.changes.insert(row, Some(answer_value(answer.outcome)));
        }
    }
}
