//! The settings file on disk, and the only way to change its content.
//!
//! The new content is written to a temporary file in the same folder and synced. That file is renamed over the settings
//! file, and the folder is synced. If the process or the machine dies at any point, the file has the old content or the
//! new one, never a mixture. After the last step the new content is durable.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The mode of a new file: settings are private until the owner changes the mode.
const NEW_FILE_MODE: u32 = 0o600;

/// What is written to find out whether anything can be written: a block, so that a full disk is noticed.
const PROBE: [u8; 4096] = [0; 4096];

/// The paths of the settings file and of its companions.
#[derive(Debug)]
pub(super) struct SettingsFile {
    folder: PathBuf,
    path: PathBuf,
    temporary: PathBuf,
    disk: Box<dyn Disk>,
    /// Why nothing may be written: the lock file could not be created.
    not_locked: Option<ErrorKind>,
}

/// Why the new content is not in place, or may not be durable.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReplaceError {
    /// The file has the old content.
    #[error("cannot {step} {}: {reason}", path.display())]
    Unchanged { step: &'static str, path: PathBuf, reason: io::Error },
    /// The file has the new content, or will have it with the next write. After a crash of the machine it may have the
    /// old one; also after a crash of the process if the file could not be checked.
    #[error("{} is replaced, but this may not be durable: cannot {step}: {reason}", path.display())]
    Uncertain { step: &'static str, path: PathBuf, reason: io::Error },
}

impl SettingsFile {
    /// The file `name` in `folder`. It must not be a symbolic link, because the rename would replace that. `not_locked`
    /// is why the lock file could not be created, without which nothing is ever written.
    pub(super) fn new(
        folder: PathBuf,
        name: &OsStr,
        disk: Box<dyn Disk>,
        not_locked: Option<ErrorKind>,
    ) -> Self {
        let (path, temporary) = (folder.join(name), beside(&folder, name, ".tmp"));
        Self { folder, path, temporary, disk, not_locked }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Replaces the content. A failed step is never retried: after a failed sync, the kernel may have dropped the data
    /// and report success the next time. So the next content goes to a new file.
    pub(super) fn replace(&self, content: &[u8]) -> Result<(), ReplaceError> {
        self.write_temporary(content).and_then(|file| self.rename(&file)).inspect_err(|_| {
            // If this fails, the next write or start removes it.
            let _ = self.remove_temporary();
        })?;
        self.disk.sync_folder(&self.folder).map_err(self.uncertain("sync its folder"))
    }

    /// Checks that files can be written in the folder, and removes the temporary file of an interrupted write. Returns
    /// the reason if they cannot although the settings file can be read.
    ///
    /// Then syncs the folder: a process that died may have renamed a new content into place without syncing the folder.
    /// A content that is read after this must not revert to the old one.
    pub(super) fn probe(&self) -> io::Result<Option<io::Error>> {
        let unwritable = match self.write_probe() {
            Ok(()) => None,
            Err(reason) if is_unwritable(&reason) && self.path.is_file() => Some(reason),
            Err(reason) => return Err(reason),
        };
        self.disk.sync_folder(&self.folder)?;
        Ok(unwritable)
    }

    fn write_probe(&self) -> io::Result<()> {
        self.check_locked()?;
        self.remove_temporary()?;
        let written =
            self.disk.create(&self.temporary).and_then(|mut file| self.disk.write(&mut file, &PROBE));
        written.and(self.remove_temporary())
    }

    fn check_locked(&self) -> io::Result<()> {
        self.not_locked.map_or(Ok(()), |reason| Err(reason.into()))
    }

    fn write_temporary(&self, content: &[u8]) -> Result<File, ReplaceError> {
        let failed =
            |step| move |reason| ReplaceError::Unchanged { step, path: self.temporary.clone(), reason };
        self.check_locked().map_err(failed("lock the folder of"))?;
        self.remove_temporary().map_err(failed("remove"))?;
        let mut file = self.disk.create(&self.temporary).map_err(failed("create"))?;
        self.disk.permit(&file, self.permissions()).map_err(failed("set the permissions of"))?;
        self.disk.write(&mut file, content).map_err(failed("write"))?;
        self.disk.sync(&file).map_err(failed("sync"))?;
        Ok(file)
    }

    /// A failed rename may still have happened, for example on a network disk whose answer was lost. So this is
    /// checked. If the check fails too, the rename counts as done, and the next write makes that true.
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

    /// The permissions for the new file: those of the current file, even if they have changed since the last write.
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

/// Whether an error means that nothing can be written here now, although everything may be readable.
pub(super) fn is_unwritable(error: &io::Error) -> bool {
    is_full(error) || matches!(error.kind(), ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied)
}

/// Whether there is no space.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
}

/// The path of `name` plus `suffix` in `folder`.
pub(super) fn beside(folder: &Path, name: &OsStr, suffix: &str) -> PathBuf {
    let mut companion = name.to_owned();
    companion.push(suffix);
    folder.join(companion)
}

/// The disk operations that can fail. Tests replace some or all of them; the defaults are the real ones.
pub trait Disk: fmt::Debug + Send {
    /// Creates a file, which must not exist.
    fn create(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).mode(NEW_FILE_MODE).open(path)
    }

    /// Sets the permissions of a file.
    fn permit(&self, file: &File, permissions: Permissions) -> io::Result<()> {
        file.set_permissions(permissions)
    }

    /// Appends to a file.
    fn write(&self, file: &mut File, content: &[u8]) -> io::Result<()> {
        file.write_all(content)
    }

    /// Makes the content and size of a file durable.
    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    /// Renames a file; an existing file with that name is replaced.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    /// Whether `path` is the path of `file`.
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

    /// Makes the names of the files in a folder durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }
}

/// The disk of the operating system.
#[derive(Debug)]
pub struct RealDisk;

impl Disk for RealDisk {}
