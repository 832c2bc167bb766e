//! Why the settings file cannot be opened.

use std::io;
use std::path::PathBuf;

use replica_count_core::settings_file::SettingsFileError;

/// Why the store cannot be opened. Each message is one line that names the file or folder.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The path is empty, or it is a folder or a device.
    #[error("{path:?} is not a file")]
    NotAFile {
        /// The path as given.
        path: PathBuf,
    },
    /// The folder does not exist or cannot be entered.
    #[error("cannot use the folder {} of the settings file: {reason}", folder.display())]
    Folder {
        /// The folder of the path as given.
        folder: PathBuf,
        /// The error of the operating system.
        reason: io::Error,
    },
    /// The path is a symbolic link to a file that does not exist, perhaps because a disk is not mounted yet.
    #[error("cannot follow the link {} to {}: {reason}", path.display(), destination.display())]
    Link {
        /// The path as given.
        path: PathBuf,
        /// The destination of the link.
        destination: PathBuf,
        /// The error of the operating system.
        reason: io::Error,
    },
    /// The lock file cannot be created or locked.
    #[error("cannot lock {}: {reason}", lock.display())]
    Lock {
        /// The lock file.
        lock: PathBuf,
        /// The error of the operating system.
        reason: io::Error,
    },
    /// Another process has the lock.
    #[error("{} is in use: another process holds the lock on {}", path.display(), lock.display())]
    InUse {
        /// The settings file.
        path: PathBuf,
        /// The lock file.
        lock: PathBuf,
    },
    /// There is no settings file, and none can be created in the folder.
    #[error("cannot write to the folder {} of the settings file: {reason}", folder.display())]
    NotWritable {
        /// The folder of the settings file.
        folder: PathBuf,
        /// The error of the operating system.
        reason: io::Error,
    },
    /// The file exists but cannot be read.
    #[error("cannot read {}: {reason}", path.display())]
    Read {
        /// The settings file.
        path: PathBuf,
        /// The error of the operating system.
        reason: io::Error,
    },
    /// The file does not contain valid settings.
    #[error("{}, {reason}", path.display())]
    Broken {
        /// The settings file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: SettingsFileError,
    },
}
