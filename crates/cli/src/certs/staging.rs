//! Writes several files together.
//!
//! All files are checked, written and synced under temporary names before the first is renamed. So a full disk, a
//! missing permission or an interruption changes nothing; only a crash between two renames can leave the files partly
//! replaced.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::error::CertsError;

/// A private key is readable by its owner only, as soon as its file exists.
const PRIVATE: u32 = 0o600;
const PUBLIC: u32 = 0o644;

/// Files to be written.
#[derive(Debug)]
pub(super) struct Staging {
    replace: bool,
    files: Vec<Staged>,
}

#[derive(Debug)]
struct Staged {
    file: PathBuf,
    contents: String,
}

impl Staging {
    /// With `replace`, existing files are replaced; otherwise they are an error.
    pub(super) fn new(replace: bool) -> Self {
        Self { replace, files: Vec::new() }
    }

    /// Adds a file. A `.key` is readable by its owner only.
    pub(super) fn add(&mut self, file: PathBuf, contents: String) -> Result<(), CertsError> {
        let exists = file.symlink_metadata().is_ok();
        if exists && !self.replace {
            return Err(CertsError::Exists(file));
        }
        self.files.push(Staged { file, contents });
        Ok(())
    }

    /// Writes all files, in the order in which they were added.
    pub(super) fn write(self) -> Result<Vec<PathBuf>, CertsError> {
        let suffix = format!("{:016x}.tmp", fastrand::u64(..));
        let temporaries = self
            .files
            .iter()
            .map(|staged| {
                Temporary::create(staged, &suffix)
                    .map_err(|source| CertsError::Write { file: staged.file.clone(), source })
            })
            .collect::<Result<Vec<_>, _>>()?;
        for (temporary, staged) in temporaries.into_iter().zip(&self.files) {
            temporary
                .persist(&staged.file)
                .map_err(|source| CertsError::Write { file: staged.file.clone(), source })?;
        }
        Ok(self.files.into_iter().map(|staged| staged.file).collect())
    }
}

/// A written file under a temporary name. It is removed unless it is renamed.
#[derive(Debug)]
struct Temporary {
    path: PathBuf,
}

impl Temporary {
    fn create(staged: &Staged, suffix: &str) -> io::Result<Self> {
        let (folder, name) = (parent(&staged.file), staged.file.file_name().unwrap_or_default());
        fs::create_dir_all(folder)?;
        let path = folder.join(format!(".{}.{suffix}", name.to_string_lossy()));
        let is_key = staged.file.extension().is_some_and(|extension| extension == "key");
        let mode = if is_key { PRIVATE } else { PUBLIC };
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path)?;
        let temporary = Self { path };
        file.write_all(staged.contents.as_bytes())?;
        file.sync_all()?;
        Ok(temporary)
    }

    fn persist(self, name: &Path) -> io::Result<()> {
        fs::rename(&self.path, name)?;
        File::open(parent(name))?.sync_all()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After the rename there is nothing to remove. If removing fails, there is nobody to report it to.
        let _ = fs::remove_file(&self.path);
    }
}

fn parent(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
