//! What became of the rows: counts that add up.
//!
//! A row may give several records (an OCDS release with three awards); it is
//! counted once, by the best thing that happened to it, in the order of
//! [`Outcome`]'s variants. **Invariant:** `rows` equals the sum of `stored`,
//! `changed`, `unchanged`, `reference` and all refusals, always. The list of
//! refusals is bounded, its total is not.

use serde::Serialize;

/// What became of one record, best first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It is new, and this authority's own.
    Stored,
    /// It replaced an earlier version.
    Changed,
    /// It said nothing new.
    Unchanged,
    /// It is another buyer's, kept for context.
    Reference,
    /// It was not kept, and why: one sentence, lower case, no full stop.
    Refused(String),
}

/// One refused row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefusedRow {
    /// Its number in the file.
    pub row: u64,
    /// Why.
    pub reason: String,
}

/// Counts of one import; serialises to the keys of the command line contract.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Rows read.
    pub rows: u64,
    /// Records they gave.
    pub records: u64,
    /// Rows with something new.
    pub stored: u64,
    /// Rows that replaced an earlier version.
    pub changed: u64,
    /// Rows that said nothing new.
    pub unchanged: u64,
    /// Rows of other buyers, kept for context.
    pub reference: u64,
    /// Rows refused, the first [`Summary::REFUSALS`] of them.
    pub refused: Vec<RefusedRow>,
    /// All rows refused.
    pub refused_total: u64,
}

impl Summary {
    /// Most refusals listed.
    pub const REFUSALS: usize = 10_000;
    /// Most refusals shown on a screen.
    pub const SHOWN: usize = 20;

    /// Counts a row and what became of its records; a row that gave none is refused.
    pub fn count(&mut self, row: u64, mut outcomes: Vec<Outcome>) {
        outcomes.sort();
        self.rows += 1;
        self.records +=
            outcomes.iter().filter(|o| !matches!(o, Outcome::Refused(_))).count() as u64;
        match outcomes.into_iter().next() {
            Some(Outcome::Stored) => self.stored += 1,
            Some(Outcome::Changed) => self.changed += 1,
            Some(Outcome::Unchanged) => self.unchanged += 1,
            Some(Outcome::Reference) => self.reference += 1,
            Some(Outcome::Refused(reason)) => self.refuse(row, reason),
            None => self.refuse(row, "it holds nothing that this program keeps".to_owned()),
        }
    }

    fn refuse(&mut self, row: u64, reason: String) {
        self.refused_total += 1;
        if self.refused.len() < Self::REFUSALS {
            self.refused.push(RefusedRow { row, reason });
        }
    }

    /// Adds the counts of another file.
    pub fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.records += other.records;
        self.stored += other.stored;
        self.changed += other.changed;
        self.unchanged += other.unchanged;
        self.reference += other.reference;
        self.refused_total += other.refused_total;
        let room = Self::REFUSALS.saturating_sub(self.refused.len());
        self.refused.extend(other.refused.into_iter().take(room));
    }

    /// Whether every row is counted exactly once.
    #[must_use]
    pub const fn adds_up(&self) -> bool {
        self.rows
            == self.stored + self.changed + self.unchanged + self.reference + self.refused_total
    }

    /// The refusals for a screen: the first few, and how many are not shown.
    #[must_use]
    pub fn shown(&self) -> (&[RefusedRow], u64) {
        let shown = self.refused.get(..Self::SHOWN).unwrap_or(&self.refused);
        (shown, self.refused_total - shown.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_counts_once_by_its_best_record() {
        let mut summary = Summary::default();
        let refused = || Outcome::Refused("why".to_owned());
        summary.count(1, vec![refused(), Outcome::Reference, Outcome::Stored]);
        summary.count(2, vec![Outcome::Reference, Outcome::Unchanged]);
        summary.count(3, vec![refused()]);
        summary.count(4, Vec::new());
        assert!(summary.adds_up());
        assert_eq!((summary.rows, summary.records), (4, 4));
        assert_eq!((summary.stored, summary.unchanged, summary.refused_total), (1, 1, 2));
    }

    #[test]
    fn the_list_is_bounded_and_the_total_is_not() {
        let mut summary = Summary::default();
        for row in 0..12_000 {
            summary.count(row, vec![Outcome::Refused("why".to_owned())]);
        }
        assert!(summary.adds_up());
        assert_eq!((summary.refused.len(), summary.refused_total), (Summary::REFUSALS, 12_000));
        assert_eq!(summary.shown().0.len(), Summary::SHOWN);
        assert_eq!(summary.shown().1, 11_980);
    }

    #[test]
    fn the_keys_are_those_of_the_contract() {
        let mut summary = Summary::default();
        summary.count(7, vec![Outcome::Refused("no title".to_owned())]);
        let json = serde_json::to_value(&summary).unwrap();
        for key in ["rows", "stored", "changed", "unchanged", "reference"] {
            assert!(json[key].is_u64(), "{key}");
        }
        assert_eq!(json["refused"], serde_json::json!([{"row": 7, "reason": "no title"}]));
    }
}
