//! `tally withdraw`: the authority no longer stands by a record of its own.

use super::Global;
use super::output::Answer;
use super::publish::told;
use crate::failure::Failure;
use crate::service::answer::{self, Published};

/// Withdraw a record of this authority; earlier versions stay in the log
#[derive(Clone, Debug, clap::Args)]
pub struct Withdraw {
    /// The record, as `tally search` shows it; may be shortened while unique.
    #[arg(value_name = "REF")]
    reference: String,
}

impl Withdraw {
    /// Runs the command.
    ///
    /// # Errors
    /// A [`Failure`] by the node: no such record, or not this authority's.
    pub fn run(&self, global: &Global) -> Result<Answer, Failure> {
        let withdraw = answer::Withdraw { reference: self.reference.clone() };
        let published: Published = global.client()?.post("records/withdraw", &withdraw)?;
        Ok(told("withdrew", &published))
    }
}
