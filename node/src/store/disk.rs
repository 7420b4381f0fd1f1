//! Durable file operations, and nothing else: what journal and body files stand on.
//!
//! Every method that changes something returns only once the change is on the
//! disk (data and, where a name appeared or went, its directory). The set is
//! small so that tests can put a disk under the store that fails at any step.
//!
//! **Invariant:** after an error nothing is known about the last change: it may
//! be there, be missing or be there in part. The caller must not go on writing.
//! Deliberately absent: locks (see [`super::data_dir`]) and open handles.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

/// Pieces of a file to be written one after the other.
pub type Chunks<'a> = &'a mut dyn Iterator<Item = io::Result<Vec<u8>>>;

/// The files under a store.
pub trait Disk: Send + Sync {
    /// Makes a directory only its owner can enter; nothing happens if it exists.
    ///
    /// # Errors
    /// Whatever the operating system reports; so for all methods.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Names in a directory, ascending; none if there is no such directory.
    ///
    /// # Errors
    /// See [`Disk::create_dir`].
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Bytes in a file; zero if there is none.
    ///
    /// # Errors
    /// See [`Disk::create_dir`].
    fn size(&self, file: &Path) -> io::Result<u64>;

    /// At most `len` bytes from `offset` on; fewer only at the end of the file.
    ///
    /// # Errors
    /// See [`Disk::create_dir`].
    fn read(&self, file: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>>;

    /// Adds `bytes` to the end of a file, making it if need be, and syncs it.
    ///
    /// # Errors
    /// See [`Disk::create_dir`].
    fn append(&self, file: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Cuts a file to `size` bytes and syncs it.
    ///
    /// # Errors
    /// See [`Disk::create_dir`].
    fn truncate(&self, file: &Path, size: u64) -> io::Result<()>;

    /// Puts a new file in the place of `file`: readers find the old content or
    /// the new one, never anything between.
    ///
    /// # Errors
    /// See [`Disk::create_dir`]; an error of `chunks` is passed on and leaves the old file.
    fn replace(&self, file: &Path, chunks: Chunks<'_>) -> io::Result<()>;

    /// Removes a file; nothing happens if there is none.
    ///
    /// # Errors
    /// See [`Disk::create_dir`].
    fn remove(&self, file: &Path) -> io::Result<()>;
}

/// Suffix of a file that [`Disk::replace`] has not finished; of no value after a crash.
pub const UNFINISHED: &str = ".new";

/// The real disk. Directories get mode 0700, files 0600.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsDisk;

impl Disk for OsDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        match builder.create(dir) {
            Ok(()) => sync_parent(dir),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            // The store gives its files ASCII names; any other file is not its own.
            names.extend(entry?.file_name().into_string());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn size(&self, file: &Path) -> io::Result<u64> {
        match fs::metadata(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            metadata => Ok(metadata?.len()),
        }
    }

    fn read(&self, file: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut source = File::open(file)?;
        source.seek(SeekFrom::Start(offset))?;
        let left = source.metadata()?.len().saturating_sub(offset);
        // Never reserve more than there is to read.
        let room = usize::try_from(left).map_or(len, |left| left.min(len));
        let mut bytes = Vec::with_capacity(room);
        source.take(room as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn append(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut target = private(OpenOptions::new().append(true).create(true)).open(file)?;
        // Also when an earlier attempt died between making the file and this write.
        let first = target.metadata()?.len() == 0;
        target.write_all(bytes)?;
        // Synced through the descriptor that wrote, so that no write error is missed.
        target.sync_data()?;
        if first { sync_parent(file) } else { Ok(()) }
    }

    fn truncate(&self, file: &Path, size: u64) -> io::Result<()> {
        let target = OpenOptions::new().write(true).open(file)?;
        target.set_len(size)?;
        target.sync_all()
    }

    fn replace(&self, file: &Path, chunks: Chunks<'_>) -> io::Result<()> {
        let mut name = file.as_os_str().to_owned();
        name.push(UNFINISHED);
        let unfinished = Path::new(&name);
        let mut options = OpenOptions::new();
        let mut target =
            private(options.write(true).create(true).truncate(true)).open(unfinished)?;
        for chunk in chunks {
            target.write_all(&chunk?)?;
        }
        // Content first, name second: the other order could leave an empty file under the name.
        target.sync_all()?;
        fs::rename(unfinished, file)?;
        sync_parent(file)
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        match fs::remove_file(file) {
            Ok(()) => sync_parent(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Makes sure that a directory takes one more mebibyte, which is gone afterwards.
///
/// # Errors
/// Whatever the operating system reports; [`is_full`] if there is no room.
pub fn probe_room(dir: &Path) -> io::Result<()> {
    let mut mebibyte = std::iter::once(Ok(vec![1; 1 << 20]));
    let file = dir.join("room");
    let written = OsDisk.replace(&file, &mut mebibyte);
    for name in ["room".to_owned(), format!("room{UNFINISHED}")] {
        // What stays is overwritten by the next probe.
        let _gone = fs::remove_file(dir.join(name));
    }
    written
}

/// Whether there is no room left, rather than something broken.
#[must_use]
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Makes names in a directory durable.
///
/// # Errors
/// Whatever the operating system reports.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    // Only Unix lets a directory be opened and synced; elsewhere names are journalled.
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        _ => Ok(()),
    }
}

fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_appended_read_cut_replaced_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (disk, file) = (OsDisk, dir.path().join("a"));
        assert_eq!(disk.size(&file).unwrap(), 0);
        disk.append(&file, b"one").unwrap();
        disk.append(&file, b"two").unwrap();
        assert_eq!(disk.read(&file, 2, 100).unwrap(), b"etwo");
        assert_eq!(disk.read(&file, 9, 5).unwrap(), b"");
        disk.truncate(&file, 4).unwrap();
        assert_eq!(disk.read(&file, 0, 3).unwrap(), b"one");
        assert_eq!(disk.size(&file).unwrap(), 4);
        let chunks = [b"new ".to_vec(), b"content".to_vec()];
        disk.replace(&file, &mut chunks.into_iter().map(Ok)).unwrap();
        assert_eq!(disk.read(&file, 0, 100).unwrap(), b"new content");
        assert_eq!(disk.list(dir.path()).unwrap(), ["a"]);
        disk.remove(&file).unwrap();
        disk.remove(&file).unwrap();
        assert!(disk.list(dir.path()).unwrap().is_empty());
        assert!(disk.list(&dir.path().join("absent")).unwrap().is_empty());
    }

    #[test]
    fn a_failed_replacement_leaves_the_old_content() {
        let dir = tempfile::tempdir().unwrap();
        let (disk, file) = (OsDisk, dir.path().join("a"));
        disk.append(&file, b"old").unwrap();
        let chunks = [Ok(b"new".to_vec()), Err(io::Error::other("unreadable"))];
        assert!(disk.replace(&file, &mut chunks.into_iter()).is_err());
        assert_eq!(disk.read(&file, 0, 100).unwrap(), b"old");
    }

    #[test]
    fn a_probe_for_room_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        probe_room(dir.path()).unwrap();
        assert!(OsDisk.list(dir.path()).unwrap().is_empty());
        assert!(!is_full(&probe_room(&dir.path().join("absent")).unwrap_err()));
    }

    #[cfg(unix)]
    #[test]
    fn nobody_but_the_owner_can_read() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let (inner, file) = (dir.path().join("inner"), dir.path().join("inner/a"));
        OsDisk.create_dir(&inner).unwrap();
        OsDisk.create_dir(&inner).unwrap();
        OsDisk.append(&file, b"x").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&inner), mode(&file)), (0o700, 0o600));
        OsDisk.replace(&file, &mut [Ok(vec![1])].into_iter()).unwrap();
        assert_eq!(mode(&file), 0o600);
    }
}
