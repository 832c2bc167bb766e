//! The settings file on the disk, and the one way in which its content changes.
//!
//! A new content is written to a temporary file beside it, synced, renamed over it, and the folder is synced. Whenever
//! the process or the machine dies, the file holds the old content or the new one, never a mixture; after the last
//! step it is the new one for good.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// For a file that does not exist yet: the settings are nobody else's business until its owner says so.
const NEW_FILE_MODE: u32 = 0o600;

/// Where the settings file and its companions lie.
#[derive(Debug)]
pub(super) struct SettingsFile {
    folder: PathBuf,
    path: PathBuf,
    temporary: PathBuf,
    disk: Box<dyn Disk>,
}

/// Why a new content is not in place, or not known to stay.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReplaceError {
    /// The file holds the old content.
    #[error("cannot {step} {}: {reason}", path.display())]
    Unchanged { step: &'static str, path: PathBuf, reason: io::Error },
    /// The file holds the new content, or will with the next write, but perhaps the old one after a crash of the machine,
    /// or of the process if not even the look at it succeeded.
    #[error("{} is replaced, but perhaps not for good: cannot {step}: {reason}", path.display())]
    Uncertain { step: &'static str, path: PathBuf, reason: io::Error },
}

impl SettingsFile {
    /// The file `name` in `folder`; a link must have been followed, for a rename would replace it.
    pub(super) fn new(folder: PathBuf, name: &OsStr, disk: Box<dyn Disk>) -> Self {
        Self { path: folder.join(name), temporary: beside(&folder, name, ".tmp"), folder, disk }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Replaces the content. Nothing that failed is tried again: after a failed sync the kernel may have dropped the
    /// data and report success the next time, so the next content goes to a new file.
    pub(super) fn replace(&self, content: &[u8]) -> Result<(), ReplaceError> {
        self.write_temporary(content).and_then(|file| self.rename(&file)).inspect_err(|_| {
            // If it cannot be removed now, the next write or start removes it.
            let _ = self.remove_temporary();
        })?;
        self.disk.sync_folder(&self.folder).map_err(self.uncertain("sync its folder"))
    }

    /// Shows that the folder takes new files, and removes what an interrupted write left there.
    ///
    /// Then makes the names in it durable: a process that died may have renamed a new content into place and not synced
    /// the folder. What is read from here on must not go back to the old content.
    pub(super) fn probe(&self) -> io::Result<()> {
        self.remove_temporary()?;
        self.disk.create(&self.temporary)?;
        self.remove_temporary()?;
        self.disk.sync_folder(&self.folder)
    }

    fn write_temporary(&self, content: &[u8]) -> Result<File, ReplaceError> {
        let failed =
            |step| move |reason| ReplaceError::Unchanged { step, path: self.temporary.clone(), reason };
        self.remove_temporary().map_err(failed("remove"))?;
        let mut file = self.disk.create(&self.temporary).map_err(failed("create"))?;
        self.disk.permit(&file, self.permissions()).map_err(failed("set the permissions of"))?;
        self.disk.write(&mut file, content).map_err(failed("write"))?;
        self.disk.sync(&file).map_err(failed("sync"))?;
        Ok(file)
    }

    /// A rename that failed may have happened all the same, as on a network disk whose answer was lost. So it is found out.
    /// Where that cannot be done either, it counts as done, which the next write makes true.
    fn rename(&self, file: &File) -> Result<(), ReplaceError> {
        let Err(reason) = self.disk.rename(&self.temporary, &self.path) else { return Ok(()) };
        match self.disk.is_at(file, &self.path) {
            Ok(false) => Err(ReplaceError::Unchanged { step: "replace", path: self.path.clone(), reason }),
            Ok(true) | Err(_) => Err(self.uncertain("confirm that")(reason)),
        }
    }

    fn uncertain(&self, step: &'static str) -> impl FnOnce(io::Error) -> ReplaceError {
        move |reason| ReplaceError::Uncertain { step, path: self.path.clone(), reason }
    }

    /// The new file is as readable as the old one, also when someone changed that meanwhile.
    fn permissions(&self) -> Permissions {
        fs::metadata(&self.path)
            .map_or_else(|_| Permissions::from_mode(NEW_FILE_MODE), |file| file.permissions())
    }

    fn remove_temporary(&self) -> io::Result<()> {
        match self.disk.remove(&self.temporary) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// The file in `folder` that is called like `name` with `suffix`.
pub(super) fn beside(folder: &Path, name: &OsStr, suffix: &str) -> PathBuf {
    let mut companion = name.to_owned();
    companion.push(suffix);
    folder.join(companion)
}

/// The steps that a disk can fail. Tests replace single ones, or all; what stands here is the real thing.
pub trait Disk: fmt::Debug + Send {
    /// Creates a file that must not exist.
    fn create(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).mode(NEW_FILE_MODE).open(path)
    }

    /// Sets who may do what with a file.
    fn permit(&self, file: &File, permissions: Permissions) -> io::Result<()> {
        file.set_permissions(permissions)
    }

    /// Appends to a file.
    fn write(&self, file: &mut File, content: &[u8]) -> io::Result<()> {
        file.write_all(content)
    }

    /// Returns when the disk has the file's content and size.
    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    /// Gives a file another name; one that had that name is gone.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    /// Whether a name is that of a file.
    fn is_at(&self, file: &File, path: &Path) -> io::Result<bool> {
        let identity = |file: Metadata| (file.dev(), file.ino());
        match fs::metadata(path) {
            Ok(named) => Ok(identity(named) == identity(file.metadata()?)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    /// Returns when the disk has the names of the folder's files.
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }
}

/// The disk of the operating system.
#[derive(Debug)]
pub struct RealDisk;

impl Disk for RealDisk {}
