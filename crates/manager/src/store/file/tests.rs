//! Tests the file backend on real files. A test disk injects faults and delays.

mod committing;
mod failing;
mod opening;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc as channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use jiff::Timestamp;
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use replica_count_core::change::{Action, Change, ChangeError, Changed, Existing};
use replica_count_core::replicas::Replicas;
use replica_count_core::setting::{Setting, Settings};
use replica_count_core::settings_file;
use replica_count_core::stored::Stored;
use replica_count_core::target::Target;
use tempfile::TempDir;

use super::failure;
use crate::store::{Disk, OpenError, RealDisk, Store, StoreError};

/// A changed target, and the count that memory held when the committer reported it.
type Seen = (Target, Option<i32>);

/// A store in its own folder, with a running committer.
struct Running {
    store: Store,
    committer: JoinHandle<()>,
    path: PathBuf,
    disk: Arc<TestDisk>,
    /// The changes that the committer reported.
    changed: Arc<Mutex<Vec<Seen>>>,
    _folder: TempDir,
}

impl Running {
    fn new() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let path = folder.path().join("replicas.json");
        let disk = Arc::new(TestDisk::default());
        let (store, committer) = Store::open_file_on(&path, Box::new(Arc::clone(&disk))).expect("opens");
        disk.steps.lock().expect("no panic").clear();
        let changed = Arc::<Mutex<Vec<Seen>>>::default();
        let report = {
            let (store, changed) = (store.clone(), Arc::clone(&changed));
            move |Changed { target, .. }: &Changed| {
                let target = target.known().expect("all are known").clone();
                let seen = (target.clone(), count_of(store.get(&target).as_ref()));
                changed.lock().expect("no panic").push(seen);
            }
        };
        let committer = thread::spawn(move || committer.run(report));
        Self { store, committer, path, disk, changed, _folder: folder }
    }

    /// Submits the change immediately; the future waits for the answer.
    #[track_caller]
    fn submit(&self, name: &str, change: Change) -> LocalBoxFuture<'static, Result<Changed, StoreError>> {
        let store = self.store.clone();
        let target = target(name);
        let mut answer = async move { store.apply(target, change).await }.boxed_local();
        assert_eq!((&mut answer).now_or_never(), None, "answered immediately");
        answer
    }

    #[track_caller]
    fn assert_memory_equals_file(&self) {
        let stored = match fs::read(&self.path) {
            Ok(text) => settings_file::parse(&text).expect("valid"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Stored::default(),
            Err(error) => panic!("cannot read: {error}"),
        };
        assert_eq!(self.store.read_all(Stored::clone), stored);
        assert!(!self.path.with_extension("json.tmp").exists(), "a temporary file is left");
    }

    /// The store's line of metrics that begins with `name`.
    #[track_caller]
    fn metric(&self, name: &str) -> String {
        metric(&self.store, name)
    }

    async fn close(self) {
        self.store.close().await;
        self.committer.join().expect("the committer ends");
    }
}

/// The line of a store's metrics that begins with `name`.
#[track_caller]
fn metric(store: &Store, name: &str) -> String {
    let mut registry = Registry::default();
    store.register(&mut registry);
    let mut metrics = String::new();
    text::encode(&mut metrics, &registry).expect("encodes");
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name} in {metrics}")).to_owned()
}

fn target(name: &str) -> Target {
    Target::deployment("default", name).expect("valid")
}

fn set(count: i32) -> Change {
    let replicas = Replicas::new(count).expect("valid");
    change(Action::Set { replicas, until: None, reason: None })
}

fn create(count: i32) -> Change {
    Change { expected_generation: Some(0), ..set(count) }
}

fn delete() -> Change {
    change(Action::Delete)
}

fn change(action: Action) -> Change {
    Change {
        expected_generation: None,
        existing: Existing::Any,
        by: "alice".into(),
        at: Timestamp::UNIX_EPOCH,
        action,
    }
}

fn count_of(setting: Option<&Arc<Setting>>) -> Option<i32> {
    setting.map(|setting| setting.replicas.get())
}

/// A step of a write, which a test can fail or block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Create,
    Write,
    Sync,
    Rename,
    SyncFolder,
}

/// The real disk, which records each step, and blocks or fails those that a test chooses.
#[derive(Debug, Default)]
struct TestDisk {
    steps: Mutex<Vec<Step>>,
    fault: Mutex<Option<(Step, rustix::io::Errno)>>,
    block: Mutex<Option<Block>>,
}

/// The disk's side of a [`Blocked`].
#[derive(Debug)]
struct Block {
    step: Step,
    reached: channel::Sender<()>,
    released: channel::Receiver<()>,
}

/// A step at which the committer is blocked until this is dropped.
struct Blocked {
    reached: channel::Receiver<()>,
    _release: channel::Sender<()>,
}

impl Blocked {
    fn wait_until_reached(&self) {
        self.reached.recv_timeout(Duration::from_secs(30)).expect("the committer reaches the step");
    }
}

impl TestDisk {
    /// Fails the next such step, except one that is already blocked.
    fn fail(&self, step: Step, error: rustix::io::Errno) {
        *self.fault.lock().expect("no panic") = Some((step, error));
    }

    /// Blocks the next such step.
    fn block(&self, step: Step) -> Blocked {
        let (reached_sender, reached) = channel::channel();
        let (release, released) = channel::channel();
        *self.block.lock().expect("no panic") = Some(Block { step, reached: reached_sender, released });
        Blocked { reached, _release: release }
    }

    fn steps(&self) -> Vec<Step> {
        self.steps.lock().expect("no panic").clone()
    }

    fn reach(&self, step: Step) -> io::Result<()> {
        self.steps.lock().expect("no panic").push(step);
        let fault = self.fault.lock().expect("no panic").take_if(|(failing, _)| *failing == step);
        let block = self.block.lock().expect("no panic").take_if(|block| block.step == step);
        if let Some(Block { reached, released, .. }) = block {
            let _ = reached.send(());
            // Nothing is ever sent; it ends when the `Blocked` is dropped.
            let _ = released.recv();
        }
        fault.map_or(Ok(()), |(_, error)| Err(error.into()))
    }
}

impl Disk for Arc<TestDisk> {
    fn create(&self, path: &Path) -> io::Result<File> {
        self.reach(Step::Create)?;
        RealDisk.create(path)
    }

    fn write(&self, file: &mut File, content: &[u8]) -> io::Result<()> {
        // A disk that becomes full writes a part.
        self.reach(Step::Write)
            .inspect_err(|_| file.write_all(&content[..content.len() / 2]).expect("written"))?;
        RealDisk.write(file, content)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.reach(Step::Sync)?;
        RealDisk.sync(file)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.reach(Step::Rename)?;
        RealDisk.rename(from, to)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.reach(Step::SyncFolder)?;
        RealDisk.sync_folder(folder)
    }
}
