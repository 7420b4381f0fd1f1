//! The data directory: who may use it, in which format it is, and what lies where.
//!
//! ```text
//! DIR/lock                 held while a process uses the directory
//! DIR/format               format number of everything below
//! DIR/journal/             own headers and checkpoints: back these up…
//! DIR/bodies/              …and own bodies
//! DIR/replica/             all logs; can be made anew
//! DIR/replica.damaged-N/   replicas that were put aside
//! DIR/replica.compact/     a copy being made; of no value unless finished
//! DIR/replica.old/         the replica while its copy takes its place
//! ```
//!
//! Other parts of the node keep their files beside these. **Invariants:** one
//! process at a time; nothing below is readable for other users of the machine;
//! data of a newer format is not touched. Deliberately absent: deleting, but for
//! what a compaction leaves.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use super::StoreError;
use super::disk::{Disk as _, OsDisk, sync_dir};

/// Format of a data directory that this program writes.
pub const FORMAT: u32 = 1;

const LOCK: &str = "lock";
const FORMAT_FILE: &str = "format";
const REPLICA: &str = "replica";
const COPY: &str = "replica.compact";
const OLD: &str = "replica.old";
const PARTS: [&str; 3] = ["journal", "bodies", REPLICA];

/// Brings a directory from one format to the next. It must stand being
/// interrupted and run again, and must back up what it changes.
type Migration = fn(&Path) -> Result<(), StoreError>;

/// The migration from format `i + 1` stands at `i`. There is only one format yet.
const MIGRATIONS: [Migration; (FORMAT - 1) as usize] = [];

/// A data directory that this process alone uses.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// The lock lives as long as the open file does.
    _lock: File,
}

impl DataDir {
    /// Locks a directory and brings it to this program's format; makes it if there is none.
    ///
    /// # Errors
    /// [`StoreError::Locked`], [`StoreError::Newer`], [`StoreError::Damaged`] if
    /// the format cannot be told, [`StoreError::Unreadable`], [`StoreError::Fatal`].
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with(path, &MIGRATIONS)
    }

    fn open_with(path: &Path, migrations: &[Migration]) -> Result<Self, StoreError> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(StoreError::unreadable(parent))?;
        }
        OsDisk.create_dir(path).map_err(StoreError::unreadable(path))?;
        let lock = lock(path)?;
        keep_private(path)?;
        bring_up_to_date(path, migrations)?;
        end_exchange(path)?;
        for part in PARTS {
            let part = path.join(part);
            OsDisk.create_dir(&part).map_err(StoreError::unreadable(&part))?;
            keep_private(&part)?;
        }
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the journal is.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.path.join("journal")
    }

    /// Where the body files are.
    #[must_use]
    pub fn bodies(&self) -> PathBuf {
        self.path.join("bodies")
    }

    /// Where the replica is.
    #[must_use]
    pub fn replica(&self) -> PathBuf {
        self.path.join(REPLICA)
    }

    /// An empty place for a copy of the replica; what an earlier attempt left is removed.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`].
    pub fn copy(&self) -> Result<PathBuf, StoreError> {
        let copy = self.path.join(COPY);
        remove_dir(&copy)?;
        OsDisk.create_dir(&copy).map_err(StoreError::unreadable(&copy))?;
        Ok(copy)
    }

    /// Puts the finished copy in the replica's place and removes the old one.
    ///
    /// # Errors
    /// [`StoreError::Fatal`]; opening the directory again ends what was begun.
    pub fn exchange(&self) -> Result<(), StoreError> {
        let old = self.path.join(OLD);
        // If we die before this line, the copy is thrown away by the next compaction.
        fs::rename(self.replica(), &old).map_err(StoreError::fatal(&old))?;
        sync_dir(&self.path).map_err(StoreError::fatal(&self.path))?;
        // If we die from here on, the next start ends the exchange: the copy is
        // finished, or there would be no old replica.
        end_exchange(&self.path)
    }

    /// Puts the replica aside, so that a new one can be made; gives its new place.
    ///
    /// # Errors
    /// [`StoreError::Fatal`].
    pub fn quarantine(&self) -> Result<PathBuf, StoreError> {
        let place = |number| self.path.join(format!("replica.damaged-{number}"));
        let aside = (1u32..).map(place).find(|place| !place.exists());
        let aside = aside.unwrap_or_else(|| place(0));
        // If we die between these lines, there is no replica: the next start makes one.
        fs::rename(self.replica(), &aside).map_err(StoreError::fatal(&aside))?;
        sync_dir(&self.path).map_err(StoreError::fatal(&self.path))?;
        OsDisk.create_dir(&self.replica()).map_err(StoreError::fatal(&self.path))?;
        Ok(aside)
    }
}

/// Ends an exchange of the replica that was begun, if one was.
fn end_exchange(path: &Path) -> Result<(), StoreError> {
    let (replica, copy, old) = (path.join(REPLICA), path.join(COPY), path.join(OLD));
    if !old.exists() {
        return Ok(());
    }
    if !replica.exists() {
        let whole = if copy.exists() { &copy } else { &old };
        fs::rename(whole, &replica).map_err(StoreError::fatal(&replica))?;
        sync_dir(path).map_err(StoreError::fatal(path))?;
    }
    remove_dir(&old)
}

fn remove_dir(dir: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StoreError::unreadable(dir)(error))
        }
        _ => Ok(()),
    }
}

fn lock(path: &Path) -> Result<File, StoreError> {
    let name = path.join(LOCK);
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.write(true).create(true).truncate(false).open(&name);
    let file = file.map_err(StoreError::unreadable(&name))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(StoreError::unreadable(&name)(error)),
    }
}

fn bring_up_to_date(path: &Path, migrations: &[Migration]) -> Result<(), StoreError> {
    let file = path.join(FORMAT_FILE);
    let newest = u32::try_from(migrations.len()).unwrap_or(u32::MAX).saturating_add(1);
    let write = |format: u32| {
        let mut content = std::iter::once(Ok(format!("{format}\n").into_bytes()));
        OsDisk.replace(&file, &mut content).map_err(StoreError::fatal(&file))
    };
    let text = OsDisk.read(&file, 0, 16);
    let text = match text {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            // Written before anything else: data without it is not data of ours.
            if PARTS.iter().any(|part| path.join(part).exists()) {
                return Err(StoreError::damaged(format!("{} (missing)", file.display())));
            }
            return write(newest);
        }
        text => text.map_err(StoreError::unreadable(&file))?,
    };
    let number = str::from_utf8(&text).ok().and_then(|text| text.trim().parse::<u32>().ok());
    let damaged = || StoreError::damaged(file.display().to_string());
    let found = number.filter(|number| *number > 0).ok_or_else(damaged)?;
    if found > newest {
        return Err(StoreError::Newer { found, known: newest });
    }
    for (format, migrate) in (1..).zip(migrations).filter(|(format, _)| *format >= found) {
        migrate(path)?;
        // If we die before this line, the migration runs again.
        write(format + 1)?;
    }
    Ok(())
}

/// Takes the rights of everybody but the owner away.
fn keep_private(dir: &Path) -> Result<(), StoreError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(dir).map_err(StoreError::unreadable(dir))?.permissions().mode();
        if mode & 0o077 != 0 {
            let private = fs::Permissions::from_mode(0o700);
            fs::set_permissions(dir, private).map_err(StoreError::unreadable(dir))?;
        }
    }
    #[cfg(not(unix))]
    let _ = dir;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        (dir, path)
    }

    #[test]
    fn one_process_at_a_time() {
        let (_dir, path) = dir();
        let first = DataDir::open(&path).unwrap();
        let second = DataDir::open(&path);
        assert!(matches!(&second, Err(StoreError::Locked(at)) if *at == path), "{second:?}");
        drop(first);
        DataDir::open(&path).unwrap();
    }

    #[test]
    fn a_newer_format_is_refused_and_left_alone() {
        let (_dir, path) = dir();
        drop(DataDir::open(&path).unwrap());
        fs::write(path.join(FORMAT_FILE), "2\n").unwrap();
        let error = DataDir::open(&path).unwrap_err();
        assert!(matches!(error, StoreError::Newer { found: 2, known: 1 }));
        assert!(error.remedy().contains("newer version"));
        assert_eq!(fs::read_to_string(path.join(FORMAT_FILE)).unwrap(), "2\n");
    }

    #[test]
    fn an_older_format_is_migrated_step_by_step() {
        let (_dir, path) = dir();
        drop(DataDir::open(&path).unwrap());
        let step = |path: &Path| {
            let format = fs::read_to_string(path.join(FORMAT_FILE)).unwrap();
            fs::write(path.join(format!("migrated-from-{}", format.trim())), "").unwrap();
            Ok(())
        };
        drop(DataDir::open_with(&path, &[step, step]).unwrap());
        assert_eq!(fs::read_to_string(path.join(FORMAT_FILE)).unwrap(), "3\n");
        assert!(path.join("migrated-from-1").exists() && path.join("migrated-from-2").exists());
        fs::remove_file(path.join("migrated-from-1")).unwrap();
        drop(DataDir::open_with(&path, &[step, step]).unwrap());
        assert!(!path.join("migrated-from-1").exists(), "not run twice");
    }

    #[test]
    fn an_unreadable_or_missing_format_is_not_guessed() {
        let (_dir, path) = dir();
        drop(DataDir::open(&path).unwrap());
        for text in ["", "0", "-1", "one", "99999999999"] {
            fs::write(path.join(FORMAT_FILE), text).unwrap();
            assert!(DataDir::open(&path).unwrap_err().is_damage(), "{text}");
        }
        fs::remove_file(path.join(FORMAT_FILE)).unwrap();
        assert!(DataDir::open(&path).unwrap_err().is_damage());
    }

    #[test]
    fn replicas_are_put_aside_under_new_names() {
        let (_dir, path) = dir();
        let data = DataDir::open(&path).unwrap();
        for number in 1..=2 {
            fs::write(data.replica().join("content"), number.to_string()).unwrap();
            let aside = data.quarantine().unwrap();
            assert_eq!(aside, path.join(format!("replica.damaged-{number}")));
            assert_eq!(fs::read_to_string(aside.join("content")).unwrap(), number.to_string());
            assert_eq!(fs::read_dir(data.replica()).unwrap().count(), 0);
        }
    }

    #[test]
    fn an_exchange_that_was_interrupted_is_ended_by_the_next_start() {
        let content = |data: &DataDir| fs::read_to_string(data.replica().join("content")).unwrap();
        for died_after in 0..3 {
            let (_dir, path) = dir();
            let data = DataDir::open(&path).unwrap();
            fs::write(data.replica().join("content"), "before").unwrap();
            fs::write(data.copy().unwrap().join("content"), "after").unwrap();
            match died_after {
                // The copy may be unfinished.
                0 => {}
                1 => fs::rename(data.replica(), path.join(OLD)).unwrap(),
                _ => {
                    fs::rename(data.replica(), path.join(OLD)).unwrap();
                    fs::rename(path.join(COPY), data.replica()).unwrap();
                }
            }
            drop(data);
            let data = DataDir::open(&path).unwrap();
            assert_eq!(content(&data), if died_after == 0 { "before" } else { "after" });
            assert!(!path.join(OLD).exists());
            fs::write(data.copy().unwrap().join("content"), "again").unwrap();
            data.exchange().unwrap();
            assert_eq!(content(&data), "again");
            assert!(!path.join(OLD).exists() && !path.join(COPY).exists());
        }
    }

    #[cfg(unix)]
    #[test]
    fn other_users_are_kept_out() {
        use std::os::unix::fs::PermissionsExt as _;
        let (_dir, path) = dir();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        drop(DataDir::open(&path).unwrap());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let data = DataDir::open(&path).unwrap();
        for dir in [data.path(), &data.journal(), &data.bodies(), &data.replica()] {
            assert_eq!(mode(dir), 0o700, "{}", dir.display());
        }
        for file in [LOCK, FORMAT_FILE] {
            assert_eq!(mode(&path.join(file)), 0o600, "{file}");
        }
    }
}
