//! The contents of the file and of all that it names, at one time.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File as OpenFile};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use serde_saphyr::Spanned;

use super::error::ConfigError;
use super::file::{Destination, File};

/// The largest file, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// What was read. Contains secrets.
pub struct Snapshot {
    pub(super) path: PathBuf,
    pub(super) file: File,
    contents: BTreeMap<PathBuf, Result<Vec<u8>, ErrorKind>>,
    digest: u64,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} and {} files", self.path.display(), self.contents.len())
    }
}

impl Snapshot {
    /// Reads the file and those that it names. May block, as file systems may.
    pub fn take(path: &Path) -> Result<Self, ConfigError> {
        let text = read(path).map_err(|kind| ConfigError::whole(path, kind))?;
        let file: File =
            serde_saphyr::from_slice(&text).map_err(|error| ConfigError::syntax(path, &error))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut contents = BTreeMap::new();
        for receiver in &file.receivers {
            for named in receiver.destinations().into_iter().flatten().flat_map(Destination::files) {
                let named = folder.join(&named.value);
                let content = read(&named);
                contents.insert(named, content);
            }
        }
        let mut hasher = DefaultHasher::new();
        (&text, &contents).hash(&mut hasher);
        Ok(Self { path: path.to_owned(), file, contents, digest: hasher.finish() })
    }

    /// Tells contents apart.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// A file that the file names.
    pub(super) fn bytes(&self, named: &Spanned<PathBuf>) -> Result<&[u8], ConfigError> {
        let path = self.path.parent().unwrap_or(Path::new("")).join(&named.value);
        match self.contents.get(&path) {
            Some(Ok(bytes)) => Ok(bytes),
            Some(Err(kind)) => {
                Err(ConfigError::at(&self.path, named, format!("{} cannot be read: {kind}", path.display())))
            }
            None => Err(ConfigError::at(&self.path, named, format!("{} was not read", path.display()))),
        }
    }

    /// The same as one line of text.
    pub(super) fn line(&self, named: &Spanned<PathBuf>) -> Result<&str, ConfigError> {
        let text = str::from_utf8(self.bytes(named)?).map(str::trim);
        let is_line = |text: &&str| !text.is_empty() && !text.contains(char::is_control);
        text.ok().filter(is_line).ok_or_else(|| {
            ConfigError::at(&self.path, named, format!("{} is not one line of text", named.value.display()))
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ErrorKind> {
    try_read(path).map_err(|error| error.kind())
}

fn try_read(path: &Path) -> io::Result<Vec<u8>> {
    // A pipe would block, and could be read only once.
    if !fs::metadata(path)?.is_file() {
        return Err(ErrorKind::InvalidInput.into());
    }
    let mut bytes = Vec::new();
    OpenFile::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}
