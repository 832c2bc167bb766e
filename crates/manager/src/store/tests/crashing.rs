//! A crash after every step, and after every failure of every step: what is read then is what was acknowledged last, or
//! what was under way. All of it is tried, on a [`CrashDisk`].

use std::collections::HashMap;

use rustix::io::Errno;

use super::crash_disk::{CrashDisk, Fault, Kind, Left};
use super::*;

const FAILURES: [Errno; 3] = [Errno::NOSPC, Errno::IO, Errno::ROFS];

/// How much of the script is run.
const ALL: usize = usize::MAX;
const TWO: usize = 2;

/// Changes of two targets, the second of which goes and comes back.
fn script() -> Vec<(Target, Change)> {
    vec![
        (target("web"), set(1)),
        (target("api"), create(2)),
        (target("api"), delete()),
        (target("web"), set(3)),
        (target("api"), create(4)),
    ]
}

/// The disk of one run, and what may be found on it.
struct Trial {
    disk: Arc<CrashDisk>,
    path: PathBuf,
    /// The settings of the newest acknowledged change, and those of the changes after it of which nobody knows.
    allowed: Vec<Settings>,
    context: String,
}

/// Reads what is left by a crash as the next process does; each different thing once.
#[derive(Default)]
struct Reader(HashMap<Left, Result<Settings, String>>);

impl Reader {
    fn read(&mut self, left: &Left) -> Result<Settings, String> {
        let read = self.0.entry(left.clone()).or_insert_with(|| {
            let folder = TempDir::new().expect("a temporary folder");
            for (path, content) in left {
                let name = path.file_name().expect("a file");
                fs::write(folder.path().join(name), content).expect("written");
            }
            let disk = Box::new(CrashDisk::new(&[]));
            let opened = Store::open_on(&folder.path().join("replicas.json"), disk);
            opened.map(|(store, _)| store.read(Settings::clone)).map_err(|error| error.to_string())
        });
        read.clone()
    }
}

impl Trial {
    fn new(folder: &TempDir, faults: &[Fault]) -> Self {
        let path = folder.path().join("replicas.json");
        let allowed = vec![Settings::new()];
        Self { disk: CrashDisk::new(faults), path, allowed, context: format!("{faults:?}") }
    }

    /// Makes the changes of `script`, one after the other, and checks what each step of each of them could leave.
    async fn run(mut self, script: Vec<(Target, Change)>, reader: &mut Reader) {
        match Store::open_on(&self.path, Box::new(Arc::clone(&self.disk))) {
            Ok((store, committer)) => {
                let committer = thread::spawn(move || committer.run(|_| ()));
                self.check_moments(&[], reader);
                for (target, change) in script {
                    self.change(&store, target, change, reader).await;
                }
                store.close().await;
                committer.join().expect("the committer ends");
            }
            Err(OpenError::NotWritable { .. }) => self.check_moments(&[], reader),
            Err(error) => panic!("{error}; {}", self.context),
        }
        self.check_next_process(reader);
    }

    async fn change(&mut self, store: &Store, target: Target, change: Change, reader: &mut Reader) {
        let mut after = store.read(Settings::clone);
        let Ok(applied) = store.check(&target, &change) else { return };
        match applied.after {
            Some(setting) => after.insert(target.clone(), setting),
            None => after.remove(&target),
        };
        let answer = store.apply(target, change).await;
        self.check_moments(std::slice::from_ref(&after), reader);
        match answer {
            Ok(_) => self.allowed = vec![after],
            Err(StoreError::Uncertain) => self.allowed.push(after),
            Err(StoreError::Full | StoreError::Unavailable { .. }) => {}
            Err(error) => panic!("{error}; {}", self.context),
        }
        self.check_moments(&[], reader);
    }

    /// Checks what could be left since the last look, `under_way` included.
    fn check_moments(&self, under_way: &[Settings], reader: &mut Reader) {
        for left in self.disk.moments().iter().flatten() {
            let settings = reader.read(left).unwrap_or_else(|error| panic!("{error}; {}", self.context));
            let is_allowed = self.allowed.iter().chain(under_way).any(|allowed| *allowed == settings);
            let allowed = &self.allowed;
            assert!(is_allowed, "{settings:?} is left, of {allowed:?}, {under_way:?}; {}", self.context);
        }
    }

    /// The next process on the same machine reads something, and that does not go back, whatever happens then. (Unless the
    /// process before was told of a failed sync of the folder: nobody can make up for that without a change.)
    fn check_next_process(mut self, reader: &mut Reader) {
        self.disk.revive();
        let (store, _committer) =
            Store::open_on(&self.path, Box::new(Arc::clone(&self.disk))).expect("nothing goes wrong");
        let settings = store.read(Settings::clone);
        // Of the last change of a process that died, nobody has an answer.
        self.check_moments(std::slice::from_ref(&settings), reader);
        if !self.disk.has_lost_names() {
            self.allowed = vec![settings];
            self.check_moments(&[], reader);
        }
    }
}

/// Runs the first `changes` of the script with `faults`; returns how many operations that were.
async fn check(changes: usize, faults: &[Fault], reader: &mut Reader) -> usize {
    let folder = TempDir::new().expect("a temporary folder");
    let trial = Trial::new(&folder, faults);
    let disk = Arc::clone(&trial.disk);
    trial.run(script().into_iter().take(changes).collect(), reader).await;
    disk.operations()
}

#[tokio::test]
async fn every_failure_of_every_step_leaves_what_was_acknowledged() {
    let mut reader = Reader::default();
    let operations = check(ALL, &[], &mut reader).await;
    let kinds = FAILURES.map(Kind::Fails).into_iter().chain([Kind::DoneButFails(Errno::IO), Kind::Dies]);
    for kind in kinds {
        for at in 0..operations {
            check(ALL, &[Fault { at, kind }], &mut reader).await;
        }
    }
}

#[tokio::test]
async fn two_failures_leave_what_was_acknowledged() {
    let mut reader = Reader::default();
    let operations = check(TWO, &[], &mut reader).await;
    let kinds = [Kind::Fails(Errno::IO), Kind::DoneButFails(Errno::IO)];
    for (first, second) in kinds.into_iter().flat_map(|first| kinds.map(|second| (first, second))) {
        for at in 0..operations {
            for later in at + 1..operations {
                let faults = [Fault { at, kind: first }, Fault { at: later, kind: second }];
                check(TWO, &faults, &mut reader).await;
            }
        }
    }
}

#[tokio::test]
async fn a_rename_that_failed_and_happened_is_found_out() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("replicas.json");
    let rename = Fault { at: 9, kind: Kind::DoneButFails(Errno::IO) };
    let disk = CrashDisk::new(&[rename]);
    let (store, committer) = Store::open_on(&path, Box::new(disk)).expect("opens");
    let committer = thread::spawn(move || committer.run(|_| ()));
    assert_eq!(store.apply(target("web"), set(1)).await, Err(StoreError::Uncertain));
    assert_eq!(count_of(store.get(&target("web")).as_ref()), Some(1), "memory shows what the file holds");
    store.close().await;
    committer.join().expect("the committer ends");
}
