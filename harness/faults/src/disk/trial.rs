//! A trial: changes on a [`CrashDisk`], with a crash of the machine after every step. What is read then is what was
//! acknowledged last, or what was under way.

use std::collections::HashMap;
use std::path::PathBuf;
use std::{fs, thread};

use replica_count_core::change::{Change, Changed};
use replica_count_core::setting::Settings;
use replica_count_core::target::Target;
use replica_count_manager::store::{BackendReason, OpenError, Store};
use tempfile::TempDir;

use super::crash_disk::{CrashDisk, Fault, Left};

/// What is wrong, in words.
pub(super) type Wrong = String;

/// The disk of one trial, and what may be found on it.
struct Trial {
    disk: CrashDisk,
    path: PathBuf,
    /// The settings of the newest acknowledged change, and those of the changes after it of which nobody knows.
    allowed: Vec<Settings>,
}

/// Reads what is left by a crash as the next process does; each different thing once.
#[derive(Default)]
pub(super) struct Reader(HashMap<Left, Result<Settings, Wrong>>);

impl Reader {
    fn read(&mut self, left: &Left) -> Result<Settings, Wrong> {
        let read = self.0.entry(left.clone()).or_insert_with(|| {
            let folder = TempDir::new().expect("a temporary folder");
            for (path, content) in left {
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

/// Makes the changes of `script`, one after the other, on a disk with `faults`, and checks what each step of each of them
/// could leave. Returns how many operations that were.
pub(super) async fn run(
    script: Vec<(Target, Change)>,
    faults: &[Fault],
    reader: &mut Reader,
) -> Result<usize, Wrong> {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("replicas.json");
    let disk = CrashDisk::new(faults);
    let trial = Trial { disk: disk.clone(), path, allowed: vec![Settings::new()] };
    trial.run(script, reader).await.map_err(|wrong| format!("{wrong}; {faults:?}"))?;
    Ok(disk.operations())
}

impl Trial {
    async fn run(mut self, script: Vec<(Target, Change)>, reader: &mut Reader) -> Result<(), Wrong> {
        match Store::open_file_on(&self.path, Box::new(self.disk.clone())) {
            Ok((store, committer)) => {
                let committer = thread::spawn(move || committer.run(|_: &Changed| ()));
                let changed = self.change_all(&store, script, reader).await;
                store.close().await;
                committer.join().map_err(|_| "the committer panicked".to_owned())?;
                changed?;
            }
            Err(OpenError::NotWritable { .. }) => self.check_moments(&[], reader)?,
            Err(error) => return Err(error.to_string()),
        }
        self.check_next_process(reader)
    }

    async fn change_all(
        &mut self,
        store: &Store,
        script: Vec<(Target, Change)>,
        reader: &mut Reader,
    ) -> Result<(), Wrong> {
        self.check_moments(&[], reader)?;
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
    ) -> Result<(), Wrong> {
        let mut after = store.read(Settings::clone);
        let Ok(applied) = store.check(&target, &change) else { return Ok(()) };
        match applied.after {
            Some(setting) => after.insert(target.clone(), setting),
            None => after.remove(&target),
        };
        let answer = store.apply(target, change).await;
        self.check_moments(std::slice::from_ref(&after), reader)?;
        match answer {
            Ok(_) => self.allowed = vec![after],
            Err(error) => match error.backend_reason() {
                Some(BackendReason::Uncertain) => self.allowed.push(after),
                Some(BackendReason::Full | BackendReason::Unavailable) => {}
                _ => return Err(error.to_string()),
            },
        }
        self.check_moments(&[], reader)
    }

    /// Checks what could be left since the last look, `under_way` included.
    fn check_moments(&self, under_way: &[Settings], reader: &mut Reader) -> Result<(), Wrong> {
        let allowed = &self.allowed;
        for left in self.disk.moments().iter().flatten() {
            let settings = reader.read(left)?;
            if !allowed.iter().chain(under_way).any(|allowed| *allowed == settings) {
                return Err(format!("{settings:?} is left, of {allowed:?}, {under_way:?}"));
            }
        }
        Ok(())
    }

    /// The next process on the same machine reads something, and that does not go back, whatever happens then. (Unless the
    /// process before was told of a failed sync of the folder: nobody can make up for that without a change.)
    fn check_next_process(mut self, reader: &mut Reader) -> Result<(), Wrong> {
        self.disk.revive();
        let (store, _committer) = Store::open_file_on(&self.path, Box::new(self.disk.clone()))
            .map_err(|error| format!("nothing goes wrong any more, but {error}"))?;
        let settings = store.read(Settings::clone);
        // Of the last change of a process that died, nobody has an answer.
        self.check_moments(std::slice::from_ref(&settings), reader)?;
        if !self.disk.has_lost_names() {
            self.allowed = vec![settings];
            self.check_moments(&[], reader)?;
        }
        Ok(())
    }
}
