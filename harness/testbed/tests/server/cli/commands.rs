//! What people do, and what they see.

use replica_count_api::proto::DeploymentState;
use serde_json::{Value, json};

use super::Cli;
use crate::fixture::{Fixture, eventually, shared};

impl Cli<'_> {
    /// What one workload is like, as JSON.
    #[track_caller]
    fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.ok(line)).unwrap()
    }
}

#[tokio::test]
async fn counts_are_set_shown_and_deleted() {
    let fixture = Fixture::new().await;
    let cli = Cli::new(&fixture);
    let nothing = cli.run(["get"]);
    let expected = format!("No resources found in {} namespace.\n", fixture.namespace);
    assert_eq!((nothing.status, &*nothing.out, &*nothing.err), (0, "", &*expected));
    for (name, count) in [("web", 3), ("api", 2)] {
        fixture.create(name, count).await;
    }
    assert_eq!(cli.ok("set web 5 --dry-run"), "deployment.apps/web set to 5 (it had 3) (server dry run)\n");
    assert_eq!(cli.ok("set web 5 --dry-run=client"), "deployment.apps/web set to 5 (dry run)\n");
    assert_eq!(cli.json("get -o json")["items"], json!([]));
    assert_eq!(cli.ok("set web 5 --reason sale"), "deployment.apps/web set to 5 (it had 3)\n");
    assert_eq!(cli.ok("set -q api=2"), "");
    fixture.wait_for_state("web", DeploymentState::InSync).await;
    fixture.wait_for_count("web", 5).await;
    fixture.wait_for_state("api", DeploymentState::InSync).await;
    cli.golden("get", "get.txt");
    cli.golden("get -o wide", "get-wide.txt");
    cli.golden("get --no-headers deploy/web", "get-no-headers.txt");
    assert_eq!(cli.ok("get -o name"), "deployment.apps/api\ndeployment.apps/web\n");
    cli.golden("get web -o yaml", "get.yaml");
    cli.golden("get web -o json", "get-json.txt");
    let template = "{range .items[*]}{.metadata.name}={.spec.replicas} {end}";
    let printed = cli.run(["get", "-o", &format!("jsonpath={template}")]);
    assert_eq!((printed.status, &*printed.out), (0, "api=2 web=5 "));
    let all = cli.ok("get -A");
    assert!(all.starts_with("NAMESPACE ") && all.contains(&format!("{}   web ", fixture.namespace)), "{all}");
    assert_eq!(
        cli.ok("delete api web"),
        "deployment.apps/api is no longer managed (its count was 2)\ndeployment.apps/web is no longer managed (its count was 5)\n"
    );
    assert_eq!(fixture.count("web").await, Some(5));
}

#[tokio::test]
async fn a_count_is_created_by_kubectl_create_only_once() {
    let fixture = Fixture::new().await;
    let cli = Cli::new(&fixture);
    fixture.create("web", 1).await;
    let create = || cli.command("kubectl", ["create", "replicacount", "web", "3"]).output().unwrap();
    let first = create();
    assert_eq!(
        String::from_utf8_lossy(&first.stdout),
        "deployment.apps/web set to 3 (it had 1)\n",
        "{first:?}"
    );
    fixture.wait_for_count("web", 3).await;
    let again = String::from_utf8(create().stderr).unwrap();
    assert!(again.contains("\nclient has set it to 3, in generation 1."), "{again}");
}

#[tokio::test]
async fn who_names_the_culprit() {
    let mut fixture = Fixture::new().await;
    fixture.create_managed("web", 3).await;
    let cli = Cli::new(&fixture);
    let scaled = cli.command("kubectl", ["scale", "deployment/web", "--replicas=7"]).output().unwrap();
    assert!(scaled.status.success(), "{scaled:?}");
    fixture.wait_for_count("web", 3).await;
    eventually("the repair is in the history", async || {
        let events = cli.ok("who web --drifts");
        if events.lines().count() == 2 { Ok(()) } else { Err(events) }
    })
    .await;
    cli.golden("who web", "who.txt");
    cli.golden("who -o wide --drifts", "who-wide.txt");
    let drift = &cli.json("who web --drifts -o json")["items"][0];
    assert_eq!(
        (&drift["by"], &drift["certainty"], &drift["to"]),
        (&json!("kubectl"), &json!("claimed"), &json!(7))
    );
}

#[tokio::test]
async fn workloads_are_pinned_ignored_and_unpinned() {
    let mut fixture = Fixture::new().await;
    for (name, count) in [("api", 1), ("db", 2)] {
        fixture.create(name, count).await;
    }
    fixture.create_managed("web", 3).await;
    let cli = Cli::new(&fixture);
    eventually("all are listed", async || {
        let listed = cli.ok("get --unmanaged -o name");
        if listed.lines().count() == 3 { Ok(()) } else { Err(listed) }
    })
    .await;
    let label = cli.command("kubectl", ["label", "deployment/db", "tier=back"]).output().unwrap();
    assert!(label.status.success(), "{label:?}");
    assert_eq!(cli.ok("pin -l tier=back"), "deployment.apps/db set to 2 (it has that many)\n");
    assert_eq!(cli.ok("pin --all"), "deployment.apps/api set to 1 (it has that many)\n");
    assert_eq!(cli.ok("pin web"), "deployment.apps/web is managed already (3)\n");
    let tried = cli.ok("ignore web --dry-run");
    assert_eq!(tried, "deployment.apps/web ignored (dry run)\n");
    assert_eq!(cli.json("get web -o json")["spec"]["enforcement"], Value::Null);
    let ignored = cli.ok("ignore web --for 2h");
    assert!(ignored.starts_with("deployment.apps/web ignored until 20"), "{ignored}");
    fixture.scale("web", 9).await;
    fixture.wait_for_state("web", DeploymentState::Ignored).await;
    let different = cli.run(["diff"]);
    assert_eq!(different.status, 1, "{different:?}");
    assert_eq!(
        different.out.replace("1h", "119m"),
        "NAME   DESIRED   CURRENT   STATE     BY         WHY\nweb    3         9         Ignored   somebody   not enforced for 119m\n"
    );
    assert_eq!(cli.ok("enforce web"), "deployment.apps/web enforced\n");
    fixture.wait_for_count("web", 3).await;
    eventually("nothing differs", async || {
        let printed = cli.run(["diff"]);
        if printed.status == 0 { Ok(printed.out) } else { Err(printed) }
    })
    .await;
    assert_eq!(cli.ok("unpin -l tier=back"), "deployment.apps/db is no longer managed (its count was 2)\n");
    assert_eq!(cli.ok("get -o name"), "deployment.apps/api\ndeployment.apps/web\n");
}

#[tokio::test]
async fn excluded_namespaces_are_left_out_unless_they_are_named() {
    let control_plane = shared().await;
    let excluded = control_plane.namespace("excluded").await.unwrap();
    let fixture = Fixture::with(control_plane, &["--exclude-namespaces", &excluded]).await;
    let cli = Cli::new(&fixture);
    fixture.create("web", 3).await;
    for name in ["dns", "proxy"] {
        control_plane.deployment(&excluded, name, 1).await.unwrap();
    }
    for (namespace, name) in [(&fixture.namespace, "web"), (&excluded, "dns"), (&excluded, "proxy")] {
        let label = format!("pinned={}", fixture.namespace);
        let arguments = ["label", "-n", namespace, "deployment", name, &label];
        let labelled = cli.command("kubectl", arguments).output().unwrap();
        assert!(labelled.status.success(), "{labelled:?}");
    }
    eventually("all are listed", async || {
        let listed = cli.ok(&format!("get -A --unmanaged -l pinned={} -o name", fixture.namespace));
        if listed.lines().count() == 3 { Ok(()) } else { Err(listed) }
    })
    .await;
    let pin = format!("pin -l pinned={}", fixture.namespace);
    let all = cli.run(format!("{pin} -A").split_whitespace());
    let reason =
        format!("namespace {excluded:?} is excluded from management on this server (--exclude-namespaces)");
    let expected = (
        0,
        "deployment.apps/web set to 3 (it has that many)\n",
        &*format!("left out: 2, because {reason}\n"),
    );
    assert_eq!((all.status, &*all.out, &*all.err), expected);
    let named = cli.fails(&format!("{pin} -n {excluded}"), 1);
    assert!(named.ends_with("\nerror: 0 pinned, 2 failed\n"), "{named}");
}

#[tokio::test]
async fn a_server_may_manage_one_kind_only() {
    let fixture = Fixture::with(shared().await, &["--kinds=deployments"]).await;
    fixture.create("web", 3).await;
    let cli = Cli::new(&fixture);
    eventually("the workload is seen", async || {
        let listed = cli.run(["get", "--unmanaged", "-o", "name"]);
        if listed.out == "deployment.apps/web\n" { Ok(()) } else { Err(listed.err) }
    })
    .await;
    assert_eq!(cli.ok("pin --all"), "deployment.apps/web set to 3 (it has that many)\n");
    assert_eq!(cli.ok("get -o name"), "deployment.apps/web\n");
}

#[tokio::test]
async fn changes_are_undone_one_by_one() {
    let mut fixture = Fixture::new().await;
    fixture.create_managed("web", 3).await;
    let cli = Cli::new(&fixture);
    cli.ok("set web 8");
    eventually("the change is in the history", async || {
        let events = cli.ok("who web");
        if events.contains("3 -> 8   client") { Ok(()) } else { Err(events) }
    })
    .await;
    let undone = "deployment.apps/web set to 3 (undoes generation 2 by client)";
    assert_eq!(cli.ok("undo web --dry-run"), format!("{undone} (server dry run)\n"));
    assert_eq!(cli.ok("undo web"), format!("{undone}\n"));
    fixture.wait_for_count("web", 3).await;
}

#[tokio::test]
async fn the_state_of_the_server_is_shown() {
    let mut fixture = Fixture::new().await;
    fixture.create_managed("web", 3).await;
    let cli = Cli::new(&fixture);
    let status = cli.ok("status");
    for part in ["Serves:        yes\n", "You are:       client; ", " expires in 364d\n", " InSync"] {
        assert!(status.contains(part), "{status}");
    }
    assert!(cli.ok("version").starts_with(&format!("Client Version: {}\n", env!("CARGO_PKG_VERSION"))));
}

#[tokio::test]
async fn a_temporary_count_goes_back_by_itself() {
    let mut fixture = Fixture::new().await;
    fixture.create_managed("web", 3).await;
    let cli = Cli::new(&fixture);
    let set = cli.ok("set web 9 --for 8s --reason peak");
    let parts = set.split_once(" until ").and_then(|(target, rest)| Some((target, rest.split_once(", ")?.1)));
    assert_eq!(parts, Some(("deployment.apps/web set to 9", "then 3 (it had 3)\n")), "{set}");
    fixture.wait_for_count("web", 9).await;
    let spec = &cli.json("get web -o json")["spec"];
    assert_eq!((&spec["replicas"], &spec["temporary"]["replicas"]), (&json!(3), &json!(9)));
    fixture.wait_for_count("web", 3).await;
    eventually("the end is in the history", async || {
        let events = cli.ok("who web");
        if events.contains("temporary-ended   9 -> 3") { Ok(()) } else { Err(events) }
    })
    .await;
}
