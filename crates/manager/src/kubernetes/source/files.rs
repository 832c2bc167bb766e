//! Files as they were read, to notice later that they have changed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

/// The longest file that is read, in bytes.
const LONGEST: u64 = 16 << 20;

/// Files as they were read.
///
/// A pipe, such as `<(…)` of a shell or `/dev/stdin`, can be read only once. Its content is kept.
#[derive(Clone)]
pub(in crate::kubernetes) struct Files {
    read: BTreeMap<PathBuf, Content>,
    /// What was read of pipes before.
    pipes: BTreeMap<PathBuf, Vec<u8>>,
    may_read_pipes: bool,
}

#[derive(Clone, PartialEq, Eq)]
enum Content {
    Missing,
    Unreadable(ErrorKind),
    File(Vec<u8>),
    Pipe(Vec<u8>),
}

impl Files {
    /// For the first reading.
    pub(super) fn first() -> Self {
        Self { read: BTreeMap::new(), pipes: BTreeMap::new(), may_read_pipes: true }
    }

    /// An empty collection for reading the same files again.
    pub(in crate::kubernetes) fn again(&self) -> Self {
        let mut pipes = self.pipes.clone();
        for (path, content) in &self.read {
            if let Content::Pipe(bytes) = content {
                pipes.insert(path.clone(), bytes.clone());
            }
        }
        Self { read: BTreeMap::new(), pipes, may_read_pipes: false }
    }

    /// The same, if this was the first reading and is done again at once: what was read of pipes is kept, and others may
    /// be read.
    pub(in crate::kubernetes) fn reread(&self) -> Self {
        let mut again = self.again();
        again.may_read_pipes = true;
        again
    }

    /// Reads a file. May block, as file systems may.
    pub(super) fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        let content = self.content(path);
        let bytes = match &content {
            Content::Missing => Err(ErrorKind::NotFound.into()),
            Content::Unreadable(kind) => Err((*kind).into()),
            Content::File(bytes) | Content::Pipe(bytes) => Ok(bytes.clone()),
        };
        self.read.insert(path.to_owned(), content);
        bytes
    }

    /// Whether any of the files is not what it was. May block, as file systems may.
    pub(in crate::kubernetes) fn have_changed(&self) -> bool {
        let again = self.again();
        self.read.iter().any(|(path, content)| again.content(path) != *content)
    }

    fn content(&self, path: &Path) -> Content {
        if let Some(bytes) = self.pipes.get(path) {
            return Content::Pipe(bytes.clone());
        }
        let content = fs::metadata(path).and_then(|metadata| match metadata.file_type() {
            kind if kind.is_file() => read_up_to(path).map(Content::File),
            kind if kind.is_dir() => Err(ErrorKind::IsADirectory.into()),
            _ if self.may_read_pipes => read_up_to(path).map(Content::Pipe),
            // Nobody may ever write to it.
            _ => Err(ErrorKind::InvalidInput.into()),
        });
        content.unwrap_or_else(|error| match error.kind() {
            ErrorKind::NotFound => Content::Missing,
            kind => Content::Unreadable(kind),
        })
    }
}

fn read_up_to(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LONGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST {
        return Err(ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn changes_are_noticed() {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("token");
        let mut files = Files::first();
        assert_eq!(files.read(&path).expect_err("missing").kind(), ErrorKind::NotFound);
        assert!(!files.have_changed());
        fs::write(&path, "one").expect("written");
        assert!(files.have_changed());

        let mut files = files.again();
        assert_eq!(files.read(&path).expect("there"), b"one");
        assert!(!files.have_changed());
        // A link that is swapped, as in mounted Secrets.
        let (other, link) = (folder.path().join("other"), folder.path().join("link"));
        fs::write(&other, "two").expect("written");
        std::os::unix::fs::symlink(&other, &link).expect("linked");
        fs::rename(&link, &path).expect("swapped");
        assert!(files.have_changed());
        fs::remove_file(&path).expect("removed");
        assert!(files.have_changed());
        fs::create_dir(&path).expect("a folder");
        assert_eq!(files.again().read(&path).expect_err("a folder").kind(), ErrorKind::IsADirectory);
    }

    #[test]
    fn a_pipe_is_read_once() {
        let (reader, mut writer) = io::pipe().expect("a pipe");
        let path = PathBuf::from(format!("/dev/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader)));
        io::Write::write_all(&mut writer, b"text").expect("written");
        drop(writer);
        let mut files = Files::first();
        assert_eq!(files.read(&path).expect("a pipe"), b"text");
        for _ in 0..2 {
            assert!(!files.have_changed());
            files = files.again();
            assert_eq!(files.read(&path).expect("kept"), b"text");
        }
    }

    #[test]
    fn a_file_that_becomes_a_pipe_does_not_block() {
        let (reader, _writer) = io::pipe().expect("a pipe");
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("token");
        fs::write(&path, "one").expect("written");
        let mut files = Files::first();
        files.read(&path).expect("there");
        fs::remove_file(&path).expect("removed");
        std::os::unix::fs::symlink(format!("/dev/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader)), &path)
            .expect("linked");
        assert!(files.have_changed());
        assert_eq!(files.again().read(&path).expect_err("a pipe").kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn an_endless_file_is_refused() {
        let error = Files::first().read(Path::new("/dev/zero")).expect_err("endless");
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
    }
}
