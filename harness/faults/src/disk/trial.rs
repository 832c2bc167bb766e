//! A trial: changes on a [`CrashDisk`], with a simulated crash of the machine after every step. After each crash, the
//! settings must be those of the last acknowledged change, or of one in flight.

use std::collections::HashMap;
use std::path::PathBuf;
use std::{fs, thread};

use replica_count_core::change::{Change, Changed};
use replica_count_core::setting::Settings;
use replica_count_core::target::Target;
use replica_count_manager::store::{BackendReason, OpenError, Store};
use tempfile::TempDir;

use super::crash_disk::{CrashDisk, DiskState, Fault};

/// A description of a violation.
pub(super) type Violation = String;

/// The disk of one trial, and the settings allowed on it.
struct Trial {
    disk: CrashDisk,
    path: PathBuf,
    /// The settings of the last acknowledged change, and of later changes with unknown outcomes.
    allowed: Vec<Settings>,
}

/// Reads the states after crashes as the next process would, each distinct state only once.
#[derive(Default)]
pub(super) struct Reader(HashMap<DiskState, Result<Settings, Violation>>);

impl Reader {
    fn read(&mut self, state: &DiskState) -> Result<Settings, Violation> {
        let read = self.0.entry(state.clone()).or_insert_with(|| {
            let folder = TempDir::new().expect("a temporary folder");
            for (path, content) in state {
                let name = path.file_name().expect("a file");
                fs::write(folder.path().join(name), content).expect("written");
            }
            let disk = Box::new(CrashDisk::new(&[]));
            let opened = Store::open_file_on(&folder.path().join("replicas.json"), disk);
            opened.map(|(store, _)| store.read(Settings::clone)).map_err(|error| error.to_string())
        });
        read.clone()
    }
}

/// Makes the changes of `script` in turn on a disk with `faults`, and checks every possible state after each step.
/// Returns the number of operations.
pub(super) async fn run(
    script: Vec<(Target, Change)>,
    faults: &[Fault],
    reader: &mut Reader,
) -> Result<usize, Violation> {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("replicas.json");
    let disk = CrashDisk::new(faults);
    let trial = Trial { disk: disk.clone(), path, allowed: vec![Settings::new()] };
    trial.run(script, reader).await.map_err(|violation| format!("{violation}; {faults:?}"))?;
    Ok(disk.operations())
}

impl Trial {
    async fn run(mut self, script: Vec<(Target, Change)>, reader: &mut Reader) -> Result<(), Violation> {
        match Store::open_file_on(&self.path, Box::new(self.disk.clone())) {
            Ok((store, committer)) => {
                let committer = thread::spawn(move || committer.run(|_: &Changed| ()));
                let changed = self.change_all(&store, script, reader).await;
                store.close().await;
                committer.join().map_err(|_| "the committer panicked".to_owned())?;
                changed?;
            }
            Err(OpenError::NotWritable { .. }) => self.check_states(&[], reader)?,
            Err(error) => return Err(error.to_string()),
        }
        self.check_next_process(reader)
    }

    async fn change_all(
        &mut self,
        store: &Store,
        script: Vec<(Target, Change)>,
        reader: &mut Reader,
    ) -> Result<(), Violation> {
        self.check_states(&[], reader)?;
        for (target, change) in script {
            self.change(store, target, change, reader).await?;
        }
        Ok(())
    }

    async fn change(
        &mut self,
        store: &Store,
        target: Target,
        change: Change,
        reader: &mut Reader,
    ) -> Result<(), Violation> {
        let mut after = store.read(Settings::clone);
        let Ok(applied) = store.check(&target, &change) else { return Ok(()) };
        match applied.after {
            Some(setting) => after.insert(target.clone(), setting),
            None => after.remove(&target),
        };
        let answer = store.apply(target, change).await;
        self.check_states(std::slice::from_ref(&after), reader)?;
        match answer {
            Ok(_) => self.allowed = vec![after],
            Err(error) => match error.backend_reason() {
                Some(BackendReason::Uncertain) => self.allowed.push(after),
                Some(BackendReason::Full | BackendReason::Unavailable) => {}
                _ => return Err(error.to_string()),
            },
        }
        self.check_states(&[], reader)
    }

    /// Checks the possible states since the last check. Settings `in_flight` are allowed, too.
    fn check_states(&self, in_flight: &[Settings], reader: &mut Reader) -> Result<(), Violation> {
        let allowed = &self.allowed;
        for state in self.disk.take_states().iter().flatten() {
            let settings = reader.read(state)?;
            if !allowed.iter().chain(in_flight).any(|allowed| *allowed == settings) {
                return Err(format!("found {settings:?}, but expected one of {allowed:?}, {in_flight:?}"));
            }
        }
        Ok(())
    }

    /// Checks that the settings read by the next process on the same machine cannot revert later. (Except after a
    /// failed sync of the folder in the previous process, which cannot be repaired without another change.)
    fn check_next_process(mut self, reader: &mut Reader) -> Result<(), Violation> {
        self.disk.restart_process();
        let (store, _committer) = Store::open_file_on(&self.path, Box::new(self.disk.clone()))
            .map_err(|error| format!("without any failure: {error}"))?;
        let settings = store.read(Settings::clone);
        // The outcome of the dead process's last change is unknown.
        self.check_states(std::slice::from_ref(&settings), reader)?;
        if !self.disk.has_lost_names() {
            self.allowed = vec![settings];
            self.check_states(&[], reader)?;
        }
        Ok(())
    }
}
