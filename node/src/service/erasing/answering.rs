//! Tells authors what has become of their erasures here: deleted, or held.
//!
//! The answer is an entry in this authority's own log of the space in which the
//! erasure stands. **Invariants:** only whoever had values to delete, or holds them,
//! answers, so nobody who comes later does; an answer is repeated only when it changes.
//! A retention date is answered only if the values are held, since its author knows
//! the date. Deliberately absent: the reason of a hold.

use std::collections::{BTreeMap, BTreeSet};

use tallystick_protocol::entry::Entry;
use tallystick_protocol::erasure::{Answer, Outcome, Reason};
use tallystick_protocol::group::Role;
use tallystick_protocol::id::Space;

use super::super::{Desk, blocking, failed_author, failed_store, now};
use super::carrying::{ROUND, erased};
use crate::author::{answer_erasure, random_salt};
use crate::driver::unix_time;
use crate::failure::Failure;
use crate::store::erasure::{self, Standing};

/// Answers to be written, by the space into which they belong.
#[derive(Default)]
struct Answers {
    entries: BTreeMap<Space, Vec<Entry>>,
    count: usize,
    /// Carried out, and told by these entries or before, or never.
    told: Vec<Standing>,
}

impl Answers {
    /// Whether there may be more than are written at a time.
    fn is_full(&self) -> bool {
        self.count >= ROUND || self.told.len() >= ROUND
    }
}

impl Desk {
    /// Writes the answers that are due.
    pub(super) async fn answer_authors(&self) -> Result<(), Failure> {
        loop {
            let spaces = self.spaces().await;
            let _writing = self.0.writing.lock().await;
            let desk = self.clone();
            let due = blocking(move || desk.answers_due(&spaces)).await??;
            let is_full = due.is_full();
            for (space, entries) in due.entries {
                self.write_in(space, entries).await?;
            }
            // If we die before this line, the answer is found to be given already.
            let replica = self.0.handle.replica();
            let told = blocking(move || {
                due.told.iter().try_for_each(|standing| erasure::put_answered(&*replica, standing))
            });
            told.await?.map_err(failed_store)?;
            if !is_full {
                return Ok(());
            }
        }
    }

    /// Where this authority may answer: not in a group that it has left.
    async fn spaces(&self) -> BTreeSet<Space> {
        let groups = self.0.handle.groups().await;
        let ours = groups.iter().filter(|group| self.require(group, Role::Observer).is_ok());
        let ours = ours.map(|group| Space::Group(group.group()));
        ours.chain([Space::Public]).collect()
    }

    /// The first answers that are due in these spaces. Blocks.
    fn answers_due(&self, spaces: &BTreeSet<Space>) -> Result<Answers, Failure> {
        self.settle_register()?;
        let replica = self.0.handle.replica();
        let mut answers = Answers::default();
        let is_told = |standing: &Standing| spaces.contains(&standing.log.space);
        for standing in erasure::to_answer(&*replica, ROUND).map_err(failed_store)? {
            if is_told(&standing) {
                self.draft_answer(&standing, Outcome::Deleted, &mut answers)?;
            }
            answers.told.push(standing);
        }
        let held = self.holds().at(unix_time());
        if held.is_empty() {
            return Ok(answers);
        }
        for standing in erasure::pending(&*replica).map_err(failed_store)? {
            let is_others = standing.log.authority != self.authority() && is_told(&standing);
            if let Some(hold) = held.get(&erased(&standing)).filter(|_| is_others)
                && !answers.is_full()
            {
                self.draft_answer(&standing, Outcome::Held(hold.until), &mut answers)?;
            }
        }
        Ok(answers)
    }

    /// Adds the answer to an erasure, unless it was given already.
    fn draft_answer(
        &self,
        standing: &Standing,
        outcome: Outcome,
        answers: &mut Answers,
    ) -> Result<(), Failure> {
        let Standing { log, erasure, .. } = standing;
        let said = self.0.projector.register().answer_by(&self.authority(), log, erasure);
        let said = said.map_err(failed_store)?;
        let is_news = match (&said, outcome) {
            (None, Outcome::Deleted) => erasure.reason != Reason::Retention,
            (None, _) => true,
            (Some((_, said)), outcome) => *said != outcome,
        };
        if !is_news {
            return Ok(());
        }
        let (author, record, at) = (log.authority, erasure.record, erasure.at);
        let answer = Answer { author, record, at, outcome };
        let salt = random_salt().map_err(Failure::internal)?;
        // In another generation of our own log there is no version before it.
        let previous = said.map(|(version, _)| version);
        let previous =
            previous.filter(|version| version.generation == self.0.identity.generation());
        let entry = answer_erasure(&answer, previous, now()?, salt).map_err(failed_author)?;
        answers.entries.entry(log.space).or_default().push(entry);
        answers.count += 1;
        Ok(())
    }
}
