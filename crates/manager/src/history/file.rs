//! The file of the history, beside the settings file. Lines are appended to it, and now and then it is replaced by the
//! entries that are still kept.
//!
//! It is not synced after each event: that would delay the syncs of the settings file. So a process that dies loses
//! nothing that was written, but a machine that dies may lose the last seconds.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use replica_count_core::history::entry::Entry;
use replica_count_core::history::line::{self, Decoded};
use rustix::fs::statvfs;
use tracing::warn;

/// The mode of a new file, as of the settings file.
const MODE: u32 = 0o600;
/// How much space is left to the settings besides what their next version takes, in bytes.
const SPARE: u64 = 1 << 20;

/// The file of the history.
#[derive(Debug)]
pub struct HistoryFile {
    path: PathBuf,
    /// The settings file, whose next version needs space, too.
    settings: PathBuf,
    /// How many bytes may be appended before the file is to be replaced.
    growth: u64,
    /// How many bytes were appended.
    appended: u64,
    /// `None`: it is not open.
    file: Option<File>,
    content: Content,
}

/// What was found in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    /// Whole lines only.
    Whole,
    /// It ends within a line.
    Torn,
    /// Some lines cannot be read.
    Damaged,
}

impl HistoryFile {
    /// Reads the file at `path`, which need not exist, and writes nothing. `bytes` is the bound of the history. What
    /// cannot be read is logged in one line and left out. The disk is never filled so far that a new version of the
    /// `settings` file would find no space.
    pub fn open(path: PathBuf, settings: PathBuf, bytes: u64) -> (Self, Vec<Entry>) {
        let Decoded { entries, damaged, is_torn } = read(&path, bytes).map_or_else(
            |error| {
                warn!(path = %path.display(), %error, "the history cannot be read");
                Decoded { damaged: 1, ..Decoded::default() }
            },
            |text| line::decode(&text),
        );
        let content = match (damaged, is_torn) {
            (0, false) => Content::Whole,
            (0, true) => Content::Torn,
            _ => Content::Damaged,
        };
        if content != Content::Whole {
            let read = entries.len();
            warn!(path = %path.display(), read, damaged, is_torn, "a part of the history is left out");
        }
        let appended = fs::metadata(&path).map_or(0, |file| file.len());
        (Self { path, settings, growth: bytes, appended, file: None, content }, entries)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is to be replaced: it has grown too much, or cannot be appended to.
    pub(super) fn is_due(&self) -> bool {
        self.appended > self.growth || self.content != Content::Whole
    }

    /// Appends lines. After a failure, the file is to be replaced.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let appended = self.try_append(lines);
        match appended {
            Ok(()) => self.appended += lines.len() as u64,
            Err(_) => (self.content, self.file) = (Content::Torn, None),
        }
        appended
    }

    fn try_append(&mut self, lines: &[u8]) -> io::Result<()> {
        self.check_space(lines)?;
        if self.file.is_none() {
            check_file(&self.path)?;
            let mut options = OpenOptions::new();
            self.file = Some(options.append(true).create(true).mode(MODE).open(&self.path)?);
        }
        self.file.as_mut().map_or(Ok(()), |file| file.write_all(lines))
    }

    /// Replaces the content. A damaged file is kept under another name.
    pub(super) fn replace(&mut self, lines: &[u8]) -> io::Result<()> {
        check_file(&self.path)?;
        self.check_space(lines)?;
        let temporary = companion(&self.path, ".tmp");
        let file = write(&temporary, lines).inspect_err(|_| {
            // The next attempt removes it if this fails.
            let _ = fs::remove_file(&temporary);
        })?;
        if self.content == Content::Damaged {
            fs::rename(&self.path, companion(&self.path, ".damaged"))?;
        }
        fs::rename(&temporary, &self.path)?;
        (self.file, self.appended, self.content) = (Some(file), 0, Content::Whole);
        Ok(())
    }

    /// Checks that there is space for these lines and then for the next version of the settings.
    fn check_space(&self, lines: &[u8]) -> io::Result<()> {
        let settings = fs::metadata(&self.settings).map_or(0, |file| file.len());
        let disk = statvfs(self.path.parent().unwrap_or(Path::new("/")))?;
        let left = disk.f_bavail.saturating_mul(disk.f_frsize);
        if left < lines.len() as u64 + settings + SPARE {
            let message = format!("{left} bytes are free, which are left to the settings");
            return Err(io::Error::new(ErrorKind::StorageFull, message));
        }
        Ok(())
    }
}

/// Writes a new file, which can be appended to.
fn write(path: &Path, lines: &[u8]) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().append(true).create_new(true).mode(MODE).open(path)?;
    file.write_all(lines)?;
    file.sync_data()?;
    Ok(file)
}

/// Reads the end of the file, which has what is newest: more than the bounds only if they were larger before.
fn read(path: &Path, bytes: u64) -> io::Result<Vec<u8>> {
    check_file(path)?;
    let mut file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened?,
    };
    let skipped = file.metadata()?.len().saturating_sub(bytes.saturating_mul(4));
    file.seek(SeekFrom::Start(skipped))?;
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    Ok(text)
}

/// A pipe or a device at this path would block, or has no end.
fn check_file(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(file) if !file.is_file() => Err(io::Error::new(ErrorKind::InvalidInput, "not a file")),
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// The path of a companion of a file.
fn companion(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
