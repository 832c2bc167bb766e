//! `faults mutants`: verifies that each seeded bug is caught.
//!
//! A mutant is a patch in `harness/faults/mutants`, with a header that describes the bug and names the check that must
//! catch it. The patch is applied to a copy of the project below `target/`, built and checked there. A mutant counts as
//! missed if it does not build, if its check also fails without it, or if the check ends without a verdict.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use replica_count_testbed::workspace;

use crate::output::{say, say_error};
use crate::{all, run};

/// A seeded bug.
#[derive(Debug)]
struct Mutant {
    name: String,
    what: String,
    check: Check,
    patch: PathBuf,
}

/// The check that must catch a mutant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Check {
    /// Unit tests whose names contain this.
    Unit(String),
    /// End-to-end tests of the server whose names contain this.
    Server(String),
    /// Cases of `faults all` whose names contain this.
    Faults(String),
}

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Passed,
    Failed,
}

/// Checks that each mutant has a valid header and still applies. Returns the number of mutants.
pub fn check() -> Result<usize> {
    let root = workspace::root()?;
    let mutants = Mutant::find(&root, &[])?;
    for mutant in &mutants {
        mutant.apply(&root, &["--check"])?;
    }
    Ok(mutants.len())
}

/// Tests the mutants named in `only`, or all.
pub fn run(only: &[String]) -> Result<()> {
    check()?;
    let root = workspace::root()?;
    let mutants = Mutant::find(&root, only)?;
    let copy = Copy::of(&root)?;
    let checks: BTreeSet<&Check> = mutants.iter().map(|mutant| &mutant.check).collect();
    for check in checks {
        say_error(&format!("without a bug: {check:?}"));
        if copy.check(check)? == Verdict::Failed {
            bail!("{check:?} fails without any bug; see {}", copy.log().display());
        }
    }
    let mut missed = Vec::new();
    for (n, mutant) in mutants.iter().enumerate() {
        let Mutant { name, what, check, .. } = mutant;
        say_error(&format!("{} of {}: {name}", n + 1, mutants.len()));
        mutant.apply(&copy.tree, &[])?;
        let verdict = copy.check(check);
        copy.refresh()?;
        let is_caught = matches!(verdict, Ok(Verdict::Failed));
        say(&format!("{}  {name:<26}  {what}", if is_caught { "caught" } else { "MISSED" }));
        if !is_caught {
            missed.push(match verdict {
                Err(error) => format!("{name} ({error:#})"),
                Ok(_) => name.clone(),
            });
        }
    }
    if !missed.is_empty() {
        bail!("missed: {}", missed.join(", "));
    }
    say(&format!("all {} are caught", mutants.len()));
    Ok(())
}

impl Mutant {
    fn find(root: &Path, only: &[String]) -> Result<Vec<Self>> {
        let folder = root.join("harness/faults/mutants");
        let mut mutants = Vec::new();
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let patch = entry?.path();
            let mutant = Self::parse(&patch).with_context(|| patch.display().to_string())?;
            if only.is_empty() || only.contains(&mutant.name) {
                mutants.push(mutant);
            }
        }
        if mutants.is_empty() {
            bail!("no such mutant in {}", folder.display());
        }
        mutants.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(mutants)
    }

    fn parse(patch: &Path) -> Result<Self> {
        let text = fs::read_to_string(patch)?;
        let field = |key: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
            value.map(str::to_owned).with_context(|| format!("has no {key}"))
        };
        let name = patch.file_stem().and_then(|stem| stem.to_str()).context("has no name")?.to_owned();
        Ok(Self {
            name,
            what: field("What")?,
            check: Check::parse(&field("Check")?)?,
            patch: patch.to_owned(),
        })
    }

    /// Applies the patch to a tree with `git apply` and these options.
    fn apply(&self, tree: &Path, options: &[&str]) -> Result<()> {
        let mut command = Command::new("git");
        // The copy is not a repository, and git must not find the one around it.
        command.env("GIT_CEILING_DIRECTORIES", tree.parent().unwrap_or(tree));
        let output = command.arg("apply").args(options).arg(&self.patch).current_dir(tree).output()?;
        if !output.status.success() {
            bail!("{} does not apply: {}", self.patch.display(), String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }
}

impl Check {
    fn parse(text: &str) -> Result<Self> {
        if let Some(tests) = text.strip_prefix("unit ") {
            return Ok(Self::Unit(tests.to_owned()));
        }
        if let Some(tests) = text.strip_prefix("server ") {
            return Ok(Self::Server(tests.to_owned()));
        }
        let cases = text.strip_prefix("faults all --only \"").and_then(|rest| rest.strip_suffix('"'));
        cases.map(|cases| Self::Faults(cases.to_owned())).with_context(|| format!("{text:?} is not a check"))
    }

    /// Whether a test or an oracle found a problem. A failed start of the control plane, for example, proves nothing.
    fn has_failed(&self, log: &str) -> bool {
        let verdicts: &[&str] = match self {
            Self::Unit(_) | Self::Server(_) => &["test result: FAILED"],
            Self::Faults(_) => &[run::WRONG, all::OTHER_WRITES],
        };
        verdicts.iter().any(|verdict| log.contains(verdict))
    }
}

/// A copy of the project, to which mutants are applied.
struct Copy {
    root: PathBuf,
    tree: PathBuf,
    target: PathBuf,
}

impl Copy {
    fn of(root: &Path) -> Result<Self> {
        let folder = root.join("target/mutants");
        let this = Self { root: root.to_owned(), tree: folder.join("tree"), target: folder.join("target") };
        this.refresh()?;
        Ok(this)
    }

    fn log(&self) -> PathBuf {
        self.tree.with_extension("log")
    }

    /// Makes the copy identical to the project. Unchanged files are not touched, so they are not rebuilt.
    fn refresh(&self) -> Result<()> {
        let mut command = Command::new("git");
        command.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
        let output = command.current_dir(&self.root).output().context("cannot run git")?;
        for name in String::from_utf8(output.stdout)?.split_terminator('\0') {
            let (from, to) = (self.root.join(name), self.tree.join(name));
            let Ok(content) = fs::read(&from) else { continue };
            if fs::read(&to).is_ok_and(|copied| copied == content) {
                continue;
            }
            fs::create_dir_all(to.parent().context("a file is in a folder")?)?;
            fs::write(&to, content).with_context(|| format!("cannot write {}", to.display()))?;
            fs::set_permissions(&to, fs::metadata(&from)?.permissions())?;
        }
        Ok(())
    }

    fn check(&self, check: &Check) -> Result<Verdict> {
        const BUILD: [&str; 4] = ["build", "--locked", "--workspace", "--bins"];
        let has_passed = match check {
            Check::Unit(tests) => self.test(&["--lib"], tests)?,
            Check::Server(tests) => {
                self.build(&BUILD)?;
                self.test(&["--test", "server"], tests)?
            }
            Check::Faults(cases) => {
                self.build(&BUILD)?;
                let faults = self.target.join("debug/faults");
                self.run(Command::new(faults).args(["all", "--only", cases]))?
            }
        };
        if has_passed {
            return Ok(Verdict::Passed);
        }
        if !check.has_failed(&fs::read_to_string(self.log())?) {
            bail!("it ended without a verdict; see {}", self.log().display());
        }
        Ok(Verdict::Failed)
    }

    /// Builds these targets, runs the tests whose names contain `tests`, and returns whether they passed.
    fn test(&self, targets: &[&str], tests: &str) -> Result<bool> {
        let arguments = [&["test", "--locked", "--workspace"], targets].concat();
        self.build(&[&arguments, &["--no-run"][..]].concat())?;
        self.run(Command::new("cargo").args(arguments).arg(tests))
    }

    fn build(&self, arguments: &[&str]) -> Result<()> {
        if !self.run(Command::new("cargo").args(arguments))? {
            bail!("it does not build; see {}", self.log().display());
        }
        Ok(())
    }

    /// Runs a command, and returns whether it succeeded.
    fn run(&self, command: &mut Command) -> Result<bool> {
        let log = fs::File::create(self.log())?;
        command.current_dir(&self.tree).env("CARGO_TARGET_DIR", &self.target).stdin(Stdio::null());
        Ok(command.stdout(log.try_clone()?).stderr(log).status()?.success())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_parsed() {
        assert_eq!(Check::parse("unit tests").ok(), Some(Check::Unit("tests".to_owned())));
        assert_eq!(
            Check::parse("faults all --only \"flood 2\"").ok(),
            Some(Check::Faults("flood 2".to_owned()))
        );
        assert!(Check::parse("hope").is_err());
    }

    #[test]
    fn only_a_verdict_counts_as_a_failed_check() {
        let (unit, faults) = (Check::Unit("tests".to_owned()), Check::Faults("flood".to_owned()));
        let cases = [
            ("error: 1 of 3 cases failed:\nflood 2: WRONG:\n  stuck", (false, true)),
            ("error: the reference run: WRONG:\n  stuck", (false, true)),
            (
                "kill at rename 1: Writes { sent: 9 }, but Writes { sent: 4 } in the reference run",
                (false, true),
            ),
            ("test result: FAILED. 3 passed; 1 failed", (true, false)),
            ("error: etcd did not answer within 30s", (false, false)),
            ("error: 1 of 3 cases failed:\nflood 2: etcd did not answer within 30s", (false, false)),
        ];
        for (log, expected) in cases {
            assert_eq!((unit.has_failed(log), faults.has_failed(log)), expected, "{log}");
        }
    }
}
