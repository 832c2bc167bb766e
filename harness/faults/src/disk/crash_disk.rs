//! A disk that can lose its power: beside what a process sees, it keeps what could be left after a crash.
//!
//! What a process sees are real files. What could be left is computed, and is the worst that POSIX allows:
//!
//! - Of a file that is not synced, nothing, a part, all, or as many zeros. After a failed sync that stays so for good: the
//!   kernel may have dropped the data, and says nothing the next time.
//! - Of a name, any file that it named since its folder was last synced, whatever the other names show. A failed sync of
//!   the folder makes nothing durable, and a later one only what was named after it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use replica_count_manager::store::{Disk, RealDisk};
use rustix::io::Errno;

/// The files that could be left: content by name.
pub(super) type Left = BTreeMap<PathBuf, Vec<u8>>;

/// Something that goes wrong at one operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    /// How many operations come before it.
    pub(crate) at: usize,
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// It fails; of a write, the first half is done.
    Fails(Errno),
    /// It is done, and reported as failed. A sync that reports a failure is never done.
    DoneButFails(Errno),
    /// The process dies before it: neither it nor what follows is done.
    Dies,
}

/// The disk. All clones are the same one.
#[derive(Clone, Debug, Default)]
pub(super) struct CrashDisk(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    faults: Vec<Fault>,
    operations: usize,
    is_dead: bool,
    files: Vec<FileState>,
    /// Which of `files` has an inode number now; the numbers of removed files are used again.
    numbers: HashMap<u64, usize>,
    /// What each name may name after a crash: what it does for certain or did, then each change since.
    names: BTreeMap<PathBuf, Vec<Name>>,
    /// What could be left after each operation, since it was last asked for.
    moments: Vec<BTreeSet<Left>>,
}

#[derive(Debug)]
struct FileState {
    content: Vec<u8>,
    durability: Durability,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Durability {
    Unsynced,
    Synced,
    /// A sync failed.
    Lost,
}

#[derive(Clone, Copy, Debug)]
struct Name {
    file: Option<usize>,
    /// A sync of the folder failed after it.
    is_lost: bool,
}

impl CrashDisk {
    pub(super) fn new(faults: &[Fault]) -> Self {
        Self(Arc::new(Mutex::new(Inner { faults: faults.to_vec(), ..Inner::default() })))
    }

    /// How many operations there were.
    pub(super) fn operations(&self) -> usize {
        self.inner().operations
    }

    /// What could be left after each operation since the last call, and now.
    pub(super) fn moments(&self) -> Vec<BTreeSet<Left>> {
        let mut inner = self.inner();
        let mut moments = std::mem::take(&mut inner.moments);
        moments.push(inner.left());
        moments
    }

    /// Whether what a name shows may not stay, and no sync would tell.
    pub(super) fn has_lost_names(&self) -> bool {
        self.inner().names.values().flatten().any(|name| name.is_lost)
    }

    /// Another process begins, and nothing goes wrong any more.
    pub(super) fn revive(&self) {
        let mut inner = self.inner();
        inner.is_dead = false;
        inner.faults.clear();
    }

    /// Does an operation as the faults allow: `effect` changes what is seen, `note` what is kept of it.
    fn operate<T>(
        &self,
        effect: impl FnOnce() -> io::Result<T>,
        note: impl FnOnce(&mut Inner, &T),
    ) -> io::Result<T> {
        let mut inner = self.inner();
        let done = match inner.next_fault() {
            Some(Kind::Dies) => Err(io::Error::other("the process is dead")),
            Some(Kind::Fails(errno)) => Err(errno.into()),
            Some(Kind::DoneButFails(errno)) => {
                effect().inspect(|done| note(&mut inner, done)).and(Err(errno.into()))
            }
            None => effect().inspect(|done| note(&mut inner, done)),
        };
        inner.end_moment();
        done
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("no panic")
    }
}

impl Inner {
    /// Counts an operation and says what goes wrong with it.
    fn next_fault(&mut self) -> Option<Kind> {
        let at = self.operations;
        self.operations += 1;
        if self.is_dead {
            return Some(Kind::Dies);
        }
        let kind = self.faults.iter().find(|fault| fault.at == at).map(|fault| fault.kind);
        self.is_dead = matches!(kind, Some(Kind::Dies));
        kind
    }

    fn end_moment(&mut self) {
        let left = self.left();
        self.moments.push(left);
    }

    fn change_name(&mut self, path: &Path, file: Option<usize>) {
        let nothing = Name { file: None, is_lost: false };
        self.names.entry(path.to_owned()).or_insert_with(|| vec![nothing]).push(Name { file, ..nothing });
    }

    fn named(&self, path: &Path) -> Option<usize> {
        self.names.get(path)?.last()?.file
    }

    fn file(&mut self, file: &File) -> &mut FileState {
        let number = file.metadata().expect("open").ino();
        &mut self.files[self.numbers[&number]]
    }

    fn sync_names(&mut self) {
        for names in self.names.values_mut() {
            let newest = *names.last().expect("never empty");
            if !newest.is_lost {
                *names = vec![newest];
            }
        }
    }

    fn lose_names(&mut self) {
        for names in self.names.values_mut() {
            names[1..].iter_mut().for_each(|name| name.is_lost = true);
        }
    }

    /// Every combination of what the names may name and what the files may hold.
    fn left(&self) -> BTreeSet<Left> {
        let mut all = BTreeSet::from([Left::new()]);
        for (path, names) in &self.names {
            let files: BTreeSet<Option<usize>> = names.iter().map(|name| name.file).collect();
            let contents: BTreeSet<Option<Vec<u8>>> = files
                .into_iter()
                .flat_map(|file| match file {
                    None => vec![None],
                    Some(file) => self.files[file].left().into_iter().map(Some).collect(),
                })
                .collect();
            all = all
                .iter()
                .flat_map(|left| {
                    contents.iter().map(|content| {
                        let mut left = left.clone();
                        left.extend(content.clone().map(|content| (path.clone(), content)));
                        left
                    })
                })
                .collect();
        }
        all
    }
}

impl FileState {
    fn left(&self) -> Vec<Vec<u8>> {
        let all = &self.content;
        match self.durability {
            Durability::Synced => vec![all.clone()],
            Durability::Unsynced | Durability::Lost => {
                vec![Vec::new(), all[..all.len() / 2].to_vec(), all.clone(), vec![0; all.len()]]
            }
        }
    }
}

impl Disk for CrashDisk {
    fn create(&self, path: &Path) -> io::Result<File> {
        self.operate(
            || RealDisk.create(path),
            |inner, file| {
                inner.files.push(FileState { content: Vec::new(), durability: Durability::Unsynced });
                let new = inner.files.len() - 1;
                inner.numbers.insert(file.metadata().expect("open").ino(), new);
                inner.change_name(path, Some(new));
            },
        )
    }

    fn permit(&self, file: &File, permissions: Permissions) -> io::Result<()> {
        self.operate(|| RealDisk.permit(file, permissions), |_, ()| ())
    }

    fn write(&self, file: &mut File, content: &[u8]) -> io::Result<()> {
        let mut inner = self.inner();
        let fault = inner.next_fault();
        let (written, answer) = match fault {
            None => (content, Ok(())),
            Some(Kind::Fails(errno)) => (&content[..content.len() / 2], Err(errno.into())),
            Some(Kind::DoneButFails(errno)) => (content, Err(errno.into())),
            Some(Kind::Dies) => (&[][..], Err(io::Error::other("the process is dead"))),
        };
        RealDisk.write(file, written)?;
        inner.file(file).content.extend_from_slice(written);
        inner.end_moment();
        answer
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        let mut inner = self.inner();
        let fault = inner.next_fault();
        let state = inner.file(file);
        let answer = match fault {
            None if state.durability == Durability::Lost => Ok(()),
            None => {
                state.durability = Durability::Synced;
                Ok(())
            }
            Some(Kind::Fails(errno) | Kind::DoneButFails(errno)) => {
                state.durability = Durability::Lost;
                Err(errno.into())
            }
            Some(Kind::Dies) => Err(io::Error::other("the process is dead")),
        };
        inner.end_moment();
        answer
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.operate(
            || RealDisk.rename(from, to),
            |inner, ()| {
                let file = inner.named(from);
                inner.change_name(to, file);
                inner.change_name(from, None);
            },
        )
    }

    fn is_at(&self, file: &File, path: &Path) -> io::Result<bool> {
        self.operate(|| RealDisk.is_at(file, path), |_, _| ())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.operate(|| RealDisk.remove(path), |inner, ()| inner.change_name(path, None))
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        let mut inner = self.inner();
        let answer = match inner.next_fault() {
            None => {
                inner.sync_names();
                Ok(())
            }
            Some(Kind::Fails(errno) | Kind::DoneButFails(errno)) => {
                inner.lose_names();
                Err(errno.into())
            }
            Some(Kind::Dies) => Err(io::Error::other("the process is dead")),
        };
        inner.end_moment();
        answer
    }
}
