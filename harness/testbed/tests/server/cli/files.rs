//! Files of counts: applied completely, or not at all.

use std::fmt::Write as _;
use std::process::Stdio;
use std::time::Duration;
use std::{env, fs};

use replica_count_api::proto::ListDeploymentsRequest;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time;

use super::{Cli, Printed};
use crate::fixture::Fixture;

impl Cli<'_> {
    fn write(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).unwrap();
    }

    /// What the server has, by name.
    async fn stored(&self) -> Vec<(String, i32)> {
        let request =
            ListDeploymentsRequest { namespace: self.fixture.namespace.clone(), ..Default::default() };
        let rows = self.fixture.client.clone().list_deployments(request).await.unwrap().into_inner();
        let rows = rows.deployments_replica_config.into_iter();
        rows.map(|row| (row.name, row.replicas.unwrap())).collect()
    }
}

/// A file of entries `w0000`, `w0001`…, each with a count made of its number.
fn many(count: usize, replicas: impl Fn(usize) -> i32) -> String {
    let mut text = String::new();
    for n in 0..count {
        writeln!(text, "- {{name: w{n:04}, replicas: {}}}", replicas(n)).unwrap();
    }
    text
}

#[tokio::test]
async fn what_is_exported_can_be_applied() {
    let mut fixture = Fixture::new().await;
    fixture.create_managed("web", 3).await;
    fixture.create_managed("api", 2).await;
    let cli = Cli::new(&fixture);
    cli.ok("set web 4 --reason why:not");
    cli.ok("ignore api");
    for format in ["json", "yaml", "replicacounts"] {
        let text = cli.ok(&format!("export -o {format}"));
        cli.compare(&text, &format!("export-{format}.txt"));
        cli.write("counts", &text);
        let applied = cli.ok("apply -f counts");
        assert_eq!(applied, "deployment.apps/api unchanged\ndeployment.apps/web unchanged\n");
    }
    cli.write("counts", "- {name: web, replicas: 5}\n- {name: new, replicas: 1}\n");
    let different = cli.run(["diff", "-f", "counts"]);
    let expected = "deployment.apps/web configured (4 -> 5)\ndeployment.apps/new created (1)\n";
    assert_eq!((different.status, &*different.out), (1, expected));
    let refused = cli.fails("apply -f counts", 1);
    assert!(
        refused.starts_with("error: counts:2: ") && refused.contains("Nothing was applied."),
        "{refused}"
    );
    assert_eq!(cli.ok("apply -f counts --allow-missing"), expected);
    assert_eq!(cli.ok("apply -f counts"), "deployment.apps/web unchanged\ndeployment.apps/new unchanged\n");
}

#[tokio::test]
async fn another_program_shows_whole_entries_that_differ() {
    let mut fixture = Fixture::new().await;
    for name in ["api", "web"] {
        fixture.create_managed(name, 1).await;
    }
    let cli = Cli::new(&fixture);
    cli.write("long", &format!("- {{name: {}, replicas: 2}}\n", "w".repeat(253)));
    let long = cli.plugin(["diff", "-f", "long"]).env("KUBECTL_EXTERNAL_DIFF", "/bin/ls").output().unwrap();
    assert_eq!(long.status.code(), Some(1), "{long:?}");
    cli.write("counts", "- {name: web, replicas: 1, enforcement: ignore}\n- {name: new, replicas: 2}\n");
    let mut command = cli.plugin(["diff", "-f", "counts", "--prune", "--all"]);
    let path = env::var_os("PATH").unwrap();
    let folders = [cli.file("bin")].into_iter().chain(env::split_paths(&path));
    command.env("PATH", env::join_paths(folders).unwrap());
    let printed = Printed::from(command.env("KUBECTL_EXTERNAL_DIFF", "diff -r").output().unwrap());
    assert_eq!((printed.status, &*printed.err), (1, ""), "{printed:?}");
    let lines: Vec<_> = printed.out.lines().filter(|line| !line.starts_with("diff ")).collect();
    let namespace = |mark: &str| format!("{mark} namespace: {}", fixture.namespace);
    let (gone, new) = (namespace("<"), namespace(">"));
    let expected = [
        "1,3d0",
        "< name: api",
        &gone,
        "< replicas: 1",
        "0a1,3",
        "> name: new",
        &new,
        "> replicas: 2",
        "3a4",
        "> enforcement: ignore",
    ];
    assert_eq!(lines, expected, "{}", printed.out);
}

#[tokio::test]
async fn only_what_is_confirmed_is_pruned() {
    let mut fixture = Fixture::new().await;
    for name in ["api", "web"] {
        fixture.create_managed(name, 1).await;
    }
    let cli = Cli::new(&fixture);
    cli.write("counts", "- {name: web, replicas: 1}\n");
    assert_eq!(cli.fails("apply -f counts --prune", 2).lines().count(), 6);
    let refused = cli.fails("apply -f counts --prune --all", 1);
    assert!(refused.contains("--prune would delete 1 counts") && refused.contains("--yes"), "{refused}");
    assert_eq!(cli.stored().await.len(), 2);
    let pruned = "deployment.apps/web unchanged\ndeployment.apps/api pruned";
    assert_eq!(
        cli.ok("apply -f counts --prune --all --dry-run=client"),
        "deployment.apps/web unchanged (dry run)\ndeployment.apps/api pruned (dry run)\n"
    );
    assert_eq!(cli.ok("apply -f counts --prune --all --yes"), format!("{pruned}\n"));
    assert_eq!(cli.stored().await, [("web".to_owned(), 1)]);
}

#[tokio::test]
async fn of_a_thousand_entries_one_bad_one_stops_all() {
    let fixture = Fixture::new().await;
    let cli = Cli::new(&fixture);
    let good = many(1_000, |_| 1);
    for (bad, said) in [
        (
            good.replace("w0500, replicas: 1}", "w0500, replicas: -1}"),
            "counts:501: replicas: -1 is not a count",
        ),
        (good.replace("w0500, replicas: 1}", "w0500, replica: 1}"), "counts:501: replicas: is missing"),
        (
            good.replace("w0500, replicas: 1}", "w0500, replicas: 1001}"),
            "counts:501: Replicas: 1001 is more than 1000",
        ),
    ] {
        cli.write("counts", &bad);
        let refused = cli.fails("apply -f counts --allow-missing", 1);
        assert!(refused.contains(said) && refused.contains("Nothing was applied."), "{refused}");
        assert_eq!(cli.stored().await, []);
    }
}

#[tokio::test]
async fn interrupted_half_way_it_says_what_was_done() {
    let fixture = Fixture::new().await;
    let cli = Cli::new(&fixture);
    cli.write("counts", &many(1_000, |_| 1));
    let mut command = cli.plugin(["apply", "-q", "-f", "counts", "--allow-missing"]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    while cli.stored().await.is_empty() {
        assert!(child.try_wait().unwrap().is_none(), "it has ended before it stored anything");
        time::sleep(Duration::from_millis(1)).await;
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let stored = cli.stored().await.len();
    assert!(stored < 1_000, "all were stored before it was interrupted");
    let expected = format!("error: interrupted: {stored} applied, 0 failed, {} not begun\n", 1_000 - stored);
    assert_eq!((output.status.code(), said), (Some(1), expected));
}

#[tokio::test]
async fn killed_half_way_and_repeated_the_end_is_the_file() {
    let fixture = Fixture::new().await;
    let cli = Cli::new(&fixture);
    let replicas = |n: usize| i32::try_from(n % 100).unwrap();
    cli.write("counts", &many(1_000, replicas));
    let arguments = ["apply", "-q", "-f", "counts", "--allow-missing"];
    // The plugin takes the place of kubectl, so this is the process that is killed.
    let mut child = cli.plugin(arguments).spawn().unwrap();
    loop {
        if !cli.stored().await.is_empty() {
            break;
        }
        assert!(child.try_wait().unwrap().is_none(), "it has ended before it stored anything");
        time::sleep(Duration::from_millis(1)).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let stored = cli.stored().await.len();
    assert!(stored < 1_000, "all were stored before it was killed");
    assert_eq!(cli.ok(&arguments.join(" ")), "");
    let expected: Vec<_> = (0..1_000).map(|n| (format!("w{n:04}"), replicas(n))).collect();
    assert_eq!(cli.stored().await, expected);
}
