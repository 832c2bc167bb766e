//! A disk that really is full, or really cannot be written.
//!
//! The server gets a small disk of its own in a mount namespace of its own, so nobody else sees it, and nothing is left
//! of it when the server has ended.

use std::env;
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use replica_count_api::proto;
use replica_count_testbed::control_plane::Scope;
use tonic::Code;
use tonic_types::StatusExt as _;

use super::report_not_run;
use crate::scene::{Scene, options, shared};

/// The small disk: 32 pages of 4 KiB, and room for the names of 64 files.
const MOUNT: &str = "mount -t tmpfs -o size=128k,nr_inodes=64,mode=700 tmpfs \"$0\"";
const PAGE: usize = 4096;

/// How a process gets mounts of its own, and how another one comes to see them.
struct Namespace {
    unshare: &'static [&'static str],
    enter: &'static [&'static str],
}

/// As root, or as anyone.
const NAMESPACES: [Namespace; 2] = [
    Namespace { unshare: &["unshare", "--mount"], enter: &["--mount"] },
    Namespace {
        unshare: &["unshare", "--mount", "--map-root-user"],
        enter: &["--mount", "--user", "--preserve-credentials"],
    },
];

/// The first way that works here.
static NAMESPACE: LazyLock<Option<&Namespace>> = LazyLock::new(|| {
    let mut reasons = Vec::new();
    for namespace in &NAMESPACES {
        match namespace.try_out() {
            Ok(()) => return Some(namespace),
            Err(reason) => reasons.push(reason),
        }
    }
    report_not_run("a full disk and a read-only disk", &reasons.join("; "));
    None
});

/// What is wrong with the disk.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// All but so many bytes are taken.
    Full {
        spare: usize,
    },
    /// No more files can be made.
    NoMoreFiles,
    ReadOnly,
}

/// The small disk of a running server.
struct Disk {
    /// Where the server sees it.
    folder: PathBuf,
    server: u32,
    namespace: &'static Namespace,
}

#[tokio::test]
async fn a_full_disk_refuses_a_set_and_the_server_goes_on() {
    for fault in [Fault::Full { spare: 0 }, Fault::Full { spare: PAGE }, Fault::NoMoreFiles] {
        check(fault, Code::ResourceExhausted, "STORE_FULL").await;
    }
}

#[tokio::test]
async fn a_read_only_disk_refuses_a_set_and_the_server_goes_on() {
    check(Fault::ReadOnly, Code::Unavailable, "STORE_UNAVAILABLE").await;
}

/// Breaks the disk, expects a Set to be refused and everything else to go on, mends it, and expects a Set to work.
async fn check(fault: Fault, code: Code, reason: &str) {
    let Some((mut scene, disk)) = Disk::with_server().await else { return };
    scene.create_managed("web", 3).await;
    // Longer than a page, so that a write may fail in its middle.
    for name in ["api", "batch", "cache", "mail", "queue", "search"] {
        let request = proto::SetDeploymentRequest {
            allow_missing: true,
            reason: "x".repeat(1000),
            ..scene.set_request(name, 1)
        };
        scene.client.set_deployment(request).await.unwrap();
    }
    let before = disk.content();

    disk.break_by(fault);
    for count in [5, 6] {
        let refused = scene.client.set_deployment(scene.set_request("web", count)).await.unwrap_err();
        assert_eq!(refused.code(), code, "{fault:?}: {refused}");
        assert_eq!(refused.get_details_error_info().unwrap().reason, reason, "{fault:?}");
        let answer = scene.get("web").await.unwrap();
        assert_eq!((answer.desired_replicas, answer.generation), (Some(3), 1), "{fault:?}");
        assert_eq!(disk.content(), before, "{fault:?}");
    }
    for path in ["/livez", "/readyz", "/healthz"] {
        assert_eq!(scene.manager.get(path).await.unwrap().0, 200, "{fault:?}: {path}");
    }
    scene.scale("web", 9).await;
    scene.until("web", |answer| answer.drift_count == 1).await;
    scene.until_count("web", 3).await;

    disk.mend(fault);
    scene.set("web", 7).await;
    assert_eq!(scene.get("web").await.unwrap().desired_replicas, Some(7), "{fault:?}");
    assert!(disk.content().contains("\"replicas\":7"), "{fault:?}: {}", disk.content());
    scene.until_count("web", 7).await;
    assert_eq!(disk.files(), ["replicas.json", "replicas.json.lock"], "{fault:?}");
}

impl Namespace {
    /// Mounts a small disk that nobody will see.
    fn try_out(&self) -> Result<(), String> {
        let (program, arguments) = self.unshare.split_first().unwrap();
        let mut command = Command::new(program);
        command.args(arguments).args(["sh", "-c", MOUNT]).arg(env::temp_dir());
        let output = command.output().map_err(|error| format!("{program}: {error}"))?;
        let reason = || String::from_utf8_lossy(&output.stderr).trim().to_owned();
        if output.status.success() { Ok(()) } else { Err(reason()) }
    }
}

impl Disk {
    /// A server on a small disk. `None` where there is none to be had, which is then reported.
    async fn with_server() -> Option<(Scene<'static>, Self)> {
        let namespace = (*NAMESPACE)?;
        let control_plane = shared().await;
        let folder = control_plane.folder("disk").unwrap();
        let options = options(control_plane, &Scope::Cluster, &[]).await;
        let script = format!("{MOUNT} && exec \"$@\"");
        let launcher = namespace.unshare.iter().copied().chain(["sh", "-c", &script]).map(Path::new);
        let options = options
            .through(launcher.chain([folder.as_path()]))
            .argument("--file-path")
            .argument(folder.join("replicas.json"));
        let scene = Scene::with_options(control_plane, options).await;
        let server = scene.manager.pid();
        Some((scene, Self { folder, server, namespace }))
    }

    fn break_by(&self, fault: Fault) {
        match fault {
            Fault::Full { spare } => {
                let mut filler = File::create(self.seen("filler")).unwrap();
                let full = loop {
                    if let Err(error) = filler.write_all(&[b'x'; PAGE]) {
                        break error;
                    }
                };
                assert_eq!(full.kind(), ErrorKind::StorageFull, "{full}");
                let taken = filler.metadata().unwrap().len();
                filler.set_len(taken - u64::try_from(spare).unwrap()).unwrap();
            }
            Fault::NoMoreFiles => {
                fs::create_dir(self.seen("filler")).unwrap();
                let full = (0..).find_map(|n| File::create(self.seen(&format!("filler/{n}"))).err());
                assert_eq!(full.unwrap().kind(), ErrorKind::StorageFull);
            }
            // The lock is open for writing, so the disk itself cannot be remounted. What lies over it can.
            Fault::ReadOnly => self.run("mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\""),
        }
    }

    fn mend(&self, fault: Fault) {
        match fault {
            Fault::Full { .. } => fs::remove_file(self.seen("filler")).unwrap(),
            Fault::NoMoreFiles => fs::remove_dir_all(self.seen("filler")).unwrap(),
            Fault::ReadOnly => self.run("umount \"$0\""),
        }
    }

    /// The text of the settings file.
    fn content(&self) -> String {
        fs::read_to_string(self.seen("replicas.json")).unwrap()
    }

    /// The names of all files, sorted.
    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.seen("")).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The path by which this process reaches a file of the disk.
    fn seen(&self, name: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.server));
        root.join(self.folder.strip_prefix("/").unwrap()).join(name)
    }

    /// Runs a script among the mounts of the server.
    fn run(&self, script: &str) {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.server.to_string()]).args(self.namespace.enter);
        let output = command.args(["sh", "-c", script]).arg(&self.folder).output().unwrap();
        assert!(output.status.success(), "{command:?}: {output:?}");
    }
}
