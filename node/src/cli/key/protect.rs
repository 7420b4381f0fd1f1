//! `tally key protect`: the working keys under a passphrase, and plain again.

use std::path::Path;

use serde_json::json;

use super::offline::in_use;
use crate::cli::Global;
use crate::cli::output::Answer;
use crate::cli::question::Source;
use crate::config::Config;
use crate::failure::Failure;
use crate::keys::{self, Cost, change, load_identity};
use crate::store::data_dir::DataDir;

/// Runs the command.
pub(super) fn protect(
    global: &Global,
    remove: bool,
    passphrase_file: Option<&Path>,
) -> Result<Answer, Failure> {
    let place = global.place()?;
    let data = place.data();
    let network = Config::load(place.config())?.network;
    load_identity(data, &network)?;
    let _lock = DataDir::open(data).map_err(in_use)?;
    // Under the lock it stays as it is read.
    change::settle(data, &load_identity(data, &network)?)?;
    let source = Source { file: passphrase_file, option: "--passphrase-file" };
    let (changed, text) = match (source.open(data)?, remove) {
        (Some(passphrase), true) => (keys::unprotect(data, &passphrase)?, PLAIN),
        (None, true) => (Vec::new(), PLAIN),
        (Some(passphrase), false) => (keys::protect(data, &passphrase, Cost::USUAL)?, PROTECTED),
        (None, false) => (keys::protect(data, &source.choose(data)?, Cost::USUAL)?, PROTECTED),
    };
    let json = json!({ "protected": !remove, "changed": changed });
    Ok(Answer::done(text.to_owned(), json))
}

const PROTECTED: &str = "The working keys lie under the passphrase, and so will those that replace \
    them. The node\nneeds it at each start: `tally run --passphrase-file FILE`, the systemd \
    credential\ntallystick-passphrase, or somebody at a terminal.\n\nCopies from before lie in \
    backups, and perhaps in unused parts of the disk, as they were.\nIf others may come by those, \
    replace the keys: tally key rotate --log --witness --node --sealing\n";

const PLAIN: &str = "The working keys are NOT encrypted from now on. Encrypt the disk.\n";
