//! A disk that simulates power loss: besides the files that a process sees, it tracks every state that a crash could
//! leave.
//!
//! Processes see real files. The possible states after a crash are computed, and are the worst that POSIX allows:
//!
//! - An unsynced file may be empty, truncated, complete, or all zeros. After a failed sync this stays so permanently:
//!   the kernel may have dropped the data, and reports no error the next time.
//! - A name may refer to any file that it referred to since the last sync of its folder, independently of other names.
//!   A failed sync of the folder makes nothing durable, and a later one only covers changes made after the failure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use replica_count_manager::store::{Disk, RealDisk};
use rustix::io::Errno;

/// A possible state after a crash: file contents by name.
pub(super) type DiskState = BTreeMap<PathBuf, Vec<u8>>;

/// A failure of one operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    /// The number of operations before it.
    pub(crate) at: usize,
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// The operation fails. A write is half done.
    Fails(Errno),
    /// The operation takes effect but is reported as failed. A sync that reports a failure never takes effect.
    DoneButFails(Errno),
    /// The process dies before the operation: neither it nor any later one takes effect.
    Dies,
}

/// The disk. All clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct CrashDisk(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    faults: Vec<Fault>,
    operations: usize,
    is_dead: bool,
    files: Vec<FileState>,
    /// The index in `files` by inode number. The numbers of removed files are reused.
    numbers: HashMap<u64, usize>,
    /// The files that each name may refer to after a crash: the last durable one, then each change since.
    names: BTreeMap<PathBuf, Vec<Name>>,
    /// The possible states after each operation since the last call of [`CrashDisk::take_states`].
    states: Vec<BTreeSet<DiskState>>,
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
    /// Whether a later sync of the folder failed.
    is_lost: bool,
}

impl CrashDisk {
    pub(super) fn new(faults: &[Fault]) -> Self {
        Self(Arc::new(Mutex::new(Inner { faults: faults.to_vec(), ..Inner::default() })))
    }

    /// The number of operations so far.
    pub(super) fn operations(&self) -> usize {
        self.inner().operations
    }

    /// The possible states after each operation since the last call, and now.
    pub(super) fn take_states(&self) -> Vec<BTreeSet<DiskState>> {
        let mut inner = self.inner();
        let mut states = std::mem::take(&mut inner.states);
        states.push(inner.possible_states());
        states
    }

    /// Whether a name may change after a crash even if all later syncs succeed.
    pub(super) fn has_lost_names(&self) -> bool {
        self.inner().names.values().flatten().any(|name| name.is_lost)
    }

    /// Starts a new process, without further failures.
    pub(super) fn restart_process(&self) {
        let mut inner = self.inner();
        inner.is_dead = false;
        inner.faults.clear();
    }

    /// Performs an operation, unless it fails: `effect` changes the real files, `note` the simulated state.
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
        inner.record_states();
        done
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("no panic")
    }
}

impl Inner {
    /// Counts an operation, and returns its failure, if any.
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

    fn record_states(&mut self) {
        let states = self.possible_states();
        self.states.push(states);
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

    /// Every combination of the files that names may refer to and the contents that files may have.
    fn possible_states(&self) -> BTreeSet<DiskState> {
        let mut all = BTreeSet::from([DiskState::new()]);
        for (path, names) in &self.names {
            let files: BTreeSet<Option<usize>> = names.iter().map(|name| name.file).collect();
            let contents: BTreeSet<Option<Vec<u8>>> = files
                .into_iter()
                .flat_map(|file| match file {
                    None => vec![None],
                    Some(file) => self.files[file].possible_contents().into_iter().map(Some).collect(),
                })
                .collect();
            all = all
                .iter()
                .flat_map(|state| {
                    contents.iter().map(|content| {
                        let mut state = state.clone();
                        state.extend(content.clone().map(|content| (path.clone(), content)));
                        state
                    })
                })
                .collect();
        }
        all
    }
}

impl FileState {
    fn possible_contents(&self) -> Vec<Vec<u8>> {
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
        inner.record_states();
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
        inner.record_states();
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
        inner.record_states();
        answer
    }
}
