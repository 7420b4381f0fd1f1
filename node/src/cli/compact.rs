//! `tally compact`: gives back the disk space that the replica no longer needs.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::json;

use super::Global;
use super::output::Answer;
use super::progress::Progress;
use super::wording::{bytes, several};
use crate::config::Config;
use crate::failure::Failure;
use crate::keys;
use crate::service::{SEARCH_DIR, failed_store};
use crate::store::{Replica as _, Store};

/// Rewrite the local copy of all records without waste (stop the node first)
///
/// Needs no running node, and as much free space as the copy takes. The old
/// files are removed only after the new ones have been checked. The search index
/// is made anew at the next start. Afterwards no file has anything left of what
/// was erased and is due.
#[derive(Clone, Debug, clap::Args)]
pub struct Compact {}

impl Compact {
    /// Runs the command.
    ///
    /// # Errors
    /// A [`Failure`] if there is no authority, its node is running, or the disk is full.
    pub fn run(&self, global: &Global) -> Result<Answer, Failure> {
        let place = global.place()?;
        let config = Config::load(place.config())?;
        let identity = keys::load_identity(place.data(), &config.network)?;
        let options = config.store_options();
        let own = identity.authority();
        let store = Store::open(place.data(), &options, own).map_err(failed_store)?;
        let logs = store.replica().logs().map_err(failed_store)?;
        let entries: u64 = logs.iter().map(|log| log.frontier.size()).sum();
        let replica = place.data().join("replica");
        let before = size_of(&replica);
        let progress = Progress::over(entries);
        store.compact(&options, |done| progress.reach(done)).map_err(failed_store)?;
        progress.finish();
        // Its files keep words of records that are no longer in it.
        let search = place.file(SEARCH_DIR);
        remove_index(&search).map_err(|error| {
            Failure::unavailable(
                format!("{} cannot be removed ({error})", search.display()),
                "remove this directory by hand; the next start makes it anew",
            )
        })?;
        let after = size_of(&replica);
        let text = format!(
            "{} in {}: {} before, {} now.\n",
            several(entries, "entry").replace("entrys", "entries"),
            several(logs.len() as u64, "log"),
            bytes(before),
            bytes(after),
        );
        let json = json!({ "entries": entries, "before": before, "after": after });
        Ok(Answer::done(text, json))
    }
}

fn remove_index(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Bytes in the files of a directory that has no directories in it worth counting.
fn size_of(dir: &Path) -> u64 {
    let files = fs::read_dir(dir).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Place;
    use tallystick_protocol::identity::Profile;
    use tallystick_protocol::time::UnixTime;

    #[test]
    fn an_empty_replica_is_compacted_and_a_used_one_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("ash");
        let global = Global { data: Some(data.clone()), ..Global::default() };
        assert_eq!(Compact {}.run(&global).unwrap_err().kind.exit_code(), 3);
        let profile = Profile { name: "Ash Council".to_owned(), ..Profile::default() };
        let network = Config::default().network;
        keys::create(&Place::at(&data), &network, profile, UnixTime::from_seconds(1)).unwrap();
        let answer = Compact {}.run(&global).unwrap();
        assert_eq!((answer.exit, &answer.json["entries"]), (0, &json!(0)));
        let identity = keys::load_identity(&data, &network).unwrap();
        let options = Config::default().store_options();
        let _open = Store::open(&data, &options, identity.authority()).unwrap();
        let refused = Compact {}.run(&global).unwrap_err();
        assert_eq!(refused.kind.exit_code(), 3);
        assert!(refused.error.contains("another process"), "{}", refused.error);
    }
}
