//! A really full disk, and a really read-only one.
//!
//! The server gets its own small disk in its own mount namespace, so no other process sees it, and it vanishes with the
//! server.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use replica_count_api::proto;
use replica_count_testbed::control_plane::Scope;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::fixture::{Fixture, options, shared};
use crate::namespaces::Namespace;

/// The small disk: 32 pages of 4 KiB, and inodes for 64 files.
const MOUNT: &str = "mount -t tmpfs -o size=128k,nr_inodes=64,mode=700 tmpfs \"$0\"";
const PAGE: usize = 4096;

/// A new mount namespace, if this machine can make one with a small disk.
static NAMESPACE: LazyLock<Option<Namespace>> = LazyLock::new(|| {
    let probe = MOUNT.replace("\"$0\"", &format!("'{}'", env::temp_dir().display()));
    Namespace::find("--mount", &probe, "a full disk and a read-only disk")
});

/// The fault of the disk.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Only `spare` bytes are free.
    Full {
        spare: usize,
    },
    /// No more files can be created.
    NoMoreFiles,
    ReadOnly,
}

/// The small disk of a running server.
struct Disk {
    /// Where the server has it mounted.
    folder: PathBuf,
    server: u32,
    namespace: &'static Namespace,
}

#[tokio::test]
async fn a_full_disk_fails_sets_and_the_server_keeps_working() {
    for fault in [Fault::Full { spare: 0 }, Fault::Full { spare: PAGE }, Fault::NoMoreFiles] {
        check(fault, Code::ResourceExhausted, "STORE_FULL").await;
    }
}

#[tokio::test]
async fn a_read_only_disk_fails_sets_and_the_server_keeps_working() {
    check(Fault::ReadOnly, Code::Unavailable, "STORE_UNAVAILABLE").await;
}

/// Breaks the disk, expects Sets to fail and everything else to work, repairs the disk, and expects a Set to work.
async fn check(fault: Fault, code: Code, reason: &str) {
    let Some((mut fixture, disk)) = Disk::with_server().await else { return };
    fixture.create_managed("web", 3).await;
    // More than a page, so a write can fail half-way.
    for name in ["api", "batch", "cache", "mail", "queue", "search"] {
        let request = proto::SetDeploymentRequest {
            allow_missing: true,
            reason: "x".repeat(1000),
            ..fixture.set_request(name, 1)
        };
        fixture.client.set_deployment(request).await.unwrap();
    }
    let before = disk.content();

    disk.inject(fault);
    for count in [5, 6] {
        let refused = fixture.client.set_deployment(fixture.set_request("web", count)).await.unwrap_err();
        assert_eq!(refused.code(), code, "{fault:?}: {refused}");
        assert_eq!(refused.get_details_error_info().unwrap().reason, reason, "{fault:?}");
        let answer = fixture.get("web").await.unwrap();
        assert_eq!((answer.desired_replicas, answer.generation), (Some(3), 1), "{fault:?}");
        assert_eq!(disk.content(), before, "{fault:?}");
    }
    for path in ["/livez", "/readyz", "/healthz"] {
        assert_eq!(fixture.manager.get(path).await.unwrap().0, 200, "{fault:?}: {path}");
    }
    fixture.scale("web", 9).await;
    fixture.wait_for("web", |answer| answer.drift_count == 1).await;
    fixture.wait_for_count("web", 3).await;

    disk.repair(fault);
    fixture.set("web", 7).await;
    assert_eq!(fixture.get("web").await.unwrap().desired_replicas, Some(7), "{fault:?}");
    assert!(disk.content().contains("\"replicas\":7"), "{fault:?}: {}", disk.content());
    fixture.wait_for_count("web", 7).await;
    assert_eq!(disk.files(), ["replicas.json", "replicas.json.lock"], "{fault:?}");
}

impl Disk {
    /// Starts a server on a small disk. Reports and returns `None` if this machine cannot mount one.
    async fn with_server() -> Option<(Fixture<'static>, Self)> {
        let namespace = NAMESPACE.as_ref()?;
        let control_plane = shared().await;
        let folder = control_plane.folder("disk").unwrap();
        let options = options(control_plane, &Scope::Cluster, &[]).await;
        let script = format!("{MOUNT} && exec \"$@\"");
        let launcher = namespace.unshare.iter().copied().chain(["sh", "-c", &script]).map(Path::new);
        let options = options
            .through(launcher.chain([folder.as_path()]))
            .argument("--file-path")
            .argument(folder.join("replicas.json"));
        let fixture = Fixture::with_options(control_plane, options).await;
        let server = fixture.manager.pid();
        Some((fixture, Self { folder, server, namespace }))
    }

    fn inject(&self, fault: Fault) {
        match fault {
            Fault::Full { spare } => {
                let mut filler = File::create(self.path("filler")).unwrap();
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
                fs::create_dir(self.path("filler")).unwrap();
                let full = (0..).find_map(|n| File::create(self.path(&format!("filler/{n}"))).err());
                assert_eq!(full.unwrap().kind(), ErrorKind::StorageFull);
            }
            // The open lock file prevents remounting the disk itself, so this mounts over it.
            Fault::ReadOnly => self.run("mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\""),
        }
    }

    fn repair(&self, fault: Fault) {
        match fault {
            Fault::Full { .. } => fs::remove_file(self.path("filler")).unwrap(),
            Fault::NoMoreFiles => fs::remove_dir_all(self.path("filler")).unwrap(),
            Fault::ReadOnly => self.run("umount \"$0\""),
        }
    }

    /// The text of the settings file.
    fn content(&self) -> String {
        fs::read_to_string(self.path("replicas.json")).unwrap()
    }

    /// The names of all files, sorted.
    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("")).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The path of a file on the disk, as seen by this process.
    fn path(&self, name: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.server));
        root.join(self.folder.strip_prefix("/").unwrap()).join(name)
    }

    /// Runs a script in the mount namespace of the server.
    fn run(&self, script: &str) {
        let arguments = [OsStr::new("sh"), OsStr::new("-c"), OsStr::new(script), self.folder.as_os_str()];
        self.namespace.run(self.server, arguments).unwrap_or_else(|reason| panic!("{script}: {reason}"));
    }
}
