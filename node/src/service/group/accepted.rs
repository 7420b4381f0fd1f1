//! Invitations that were accepted: until the group's members have answered,
//! only we know that whoever invited us may be told of our log in the group.
//!
//! Kept in `groups.json`, readable by the node's own user only, written whole: to a
//! new file, fsynced, renamed. **Invariant:** an invitation stays until its entry
//! has come to us and the group's membership names us; the latter alone may be
//! old, since nobody tells us that we were removed. Deliberately absent: the invitations themselves,
//! which are used up by joining.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tallystick_protocol::id::{AuthorityId, GroupId, Hash};

use crate::failure::Failure;
use crate::partner::replace;

/// Name of the file.
pub(in crate::service) const GROUPS_FILE: &str = "groups.json";
/// Largest file that is read.
const FILE_BYTES: u64 = 1 << 20;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    accepted: Vec<One>,
}

/// One invitation that was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct One {
    group: GroupId,
    name: String,
    host: AuthorityId,
    /// Leaf hash of the invitation's entry.
    entry: Hash,
}

/// The invitations that were accepted.
#[derive(Debug)]
pub(in crate::service) struct Accepted {
    path: PathBuf,
    kept: Kept,
}

impl Accepted {
    /// Reads the file; there are none if there is none.
    pub(in crate::service) fn open(path: &Path) -> Result<Self, Failure> {
        let damaged = |why: &dyn std::fmt::Display| {
            Failure::usage(
                format!(
                    "the list of accepted invitations {} cannot be read ({why})",
                    path.display()
                ),
                "put it back from a backup, or move it away and join the groups again",
            )
        };
        let kept = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Kept::default(),
            Ok(found) if found.len() > FILE_BYTES => return Err(damaged(&"it is too large")),
            _ => {
                let text = fs::read_to_string(path).map_err(|error| damaged(&error))?;
                serde_json::from_str(&text).map_err(|error| damaged(&error))?
            }
        };
        Ok(Self { path: path.to_owned(), kept })
    }

    /// Remembers an invitation, durably.
    pub(super) fn add(
        &mut self,
        group: GroupId,
        name: String,
        (host, entry): (AuthorityId, Hash),
    ) -> Result<(), Failure> {
        let one = One { group, name, host, entry };
        if !self.kept.accepted.contains(&one) {
            self.kept.accepted.push(one);
            self.save()?;
        }
        Ok(())
    }

    /// Forgets the invitations, by group and entry, by which we were taken in.
    pub(super) fn forget(
        &mut self,
        joined: impl Fn(&GroupId, &Hash) -> bool,
    ) -> Result<(), Failure> {
        let before = self.kept.accepted.len();
        self.kept.accepted.retain(|one| !joined(&one.group, &one.entry));
        if self.kept.accepted.len() == before { Ok(()) } else { self.save() }
    }

    /// The groups and who invited us.
    pub(in crate::service) fn hosts(&self) -> BTreeMap<GroupId, Vec<AuthorityId>> {
        let mut hosts: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for one in &self.kept.accepted {
            hosts.entry(one.group).or_default().push(one.host);
        }
        hosts
    }

    /// The groups and what they are called.
    pub(super) fn names(&self) -> BTreeMap<GroupId, String> {
        self.kept.accepted.iter().map(|one| (one.group, one.name.clone())).collect()
    }

    fn save(&self) -> Result<(), Failure> {
        let text = serde_json::to_vec_pretty(&self.kept).map_err(Failure::internal)?;
        replace(&self.path, &text).map_err(|error| {
            Failure::unwritten(&self.path, &error, "check the rights of the data directory")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted_invitations_outlive_a_restart_until_the_group_takes_us_in() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(GROUPS_FILE);
        let (group, host) = (GroupId::from_bytes([1; 32]), AuthorityId::from_bytes([2; 32]));
        let mut accepted = Accepted::open(&path).unwrap();
        assert!(accepted.hosts().is_empty());
        let entry = Hash::from_bytes([3; 32]);
        accepted.add(group, "Made-up circle".to_owned(), (host, entry)).unwrap();
        accepted.add(group, "Made-up circle".to_owned(), (host, entry)).unwrap();
        let mut again = Accepted::open(&path).unwrap();
        assert_eq!(again.hosts(), BTreeMap::from([(group, vec![host])]));
        again.forget(|_, _| false).unwrap();
        assert_eq!(again.names().len(), 1);
        again.forget(|joined, by| *joined == group && *by == entry).unwrap();
        assert!(Accepted::open(&path).unwrap().hosts().is_empty());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        fs::write(&path, "{").unwrap();
        assert_eq!(Accepted::open(&path).unwrap_err().kind.exit_code(), 2);
    }
}
