//! The default addresses in network namespaces with IPv4, with IPv6, and with both.

use std::process::Output;
use std::sync::LazyLock;

use replica_count_testbed::{Manager, workspace};

use crate::durability::report_not_run;
use crate::namespaces::{Namespace, run};
use crate::standalone::Standalone;

const GRPC: &str = "[::]:8080";
const HTTP: &str = "[::]:8081";
const IPV4: &str = "127.0.0.1";
const IPV6: &str = "[::1]";

/// All commands that the tests use.
const PROBE: &str = "ip link set lo up && ip address delete 127.0.0.1/8 dev lo && \
                     sysctl -q -w net.ipv6.bindv6only=1 net.ipv6.conf.all.disable_ipv6=1 && bash --version";

/// A new network namespace, if this machine can make one.
static NAMESPACE: LazyLock<Option<Namespace>> =
    LazyLock::new(|| Namespace::find("--net", PROBE, "network namespaces with one address family"));

/// A server with the default addresses in a namespace of its own, which `setup` has prepared.
struct Server {
    manager: Manager,
    namespace: &'static Namespace,
    _standalone: Standalone,
}

impl Server {
    async fn start(setup: &str, launcher: &[&str]) -> Option<Self> {
        let namespace = NAMESPACE.as_ref()?;
        let standalone = Standalone::new();
        let script = format!("ip link set lo up && {setup} && exec \"$@\"");
        let launcher = [&namespace.unshare[..], &["sh", "-c", &script, "sh"], launcher].concat();
        let options = standalone
            .options(&["--grpc-address", GRPC, "--http-address", HTTP, "--log-level", "debug"])
            .through(launcher);
        let manager = Manager::start(&options).await.unwrap();
        Some(Self { manager, namespace, _standalone: standalone })
    }

    fn run(&self, arguments: &[&str]) -> Result<Output, String> {
        self.namespace.run(self.manager.pid(), arguments)
    }

    /// Calls both ports like their clients.
    #[track_caller]
    fn check(&self, host: &str, is_reachable: bool) {
        self.check_grpc(host, is_reachable);
        self.check_http(host.trim_matches(['[', ']']), is_reachable);
    }

    #[track_caller]
    fn check_grpc(&self, host: &str, is_reachable: bool) {
        let server = workspace::built_binary("replica-count-manager", "replica-count-manager").unwrap();
        let certificates = self.manager.certificates();
        let files =
            [certificates.authority(), certificates.certificate("client"), certificates.key("client")];
        let [ca, cert, key] = files.each_ref().map(|file| file.to_str().unwrap());
        let (server, address) = (server.to_str().unwrap(), format!("{host}:8080"));
        let called =
            self.run(&[server, "check", "--address", &address, "--ca", ca, "--cert", cert, "--key", key]);
        // It has no cluster, so it is not ready.
        let words = if is_reachable { "not ready" } else { "cannot connect" };
        let reason = called.expect_err("no cluster");
        assert!(reason.contains(words), "{host}: {reason}");
    }

    #[track_caller]
    fn check_http(&self, host: &str, is_reachable: bool) {
        let get = r"printf 'GET /livez HTTP/1.0\r\n\r\n' >&3 && cat <&3";
        let script = format!("exec 3<>/dev/tcp/{host}/8081 && {get}");
        let probed =
            self.run(&["bash", "-c", &script]).map(|output| String::from_utf8(output.stdout).unwrap());
        match probed {
            Ok(answer) => assert!(is_reachable && answer.contains("200 OK"), "{host}: {answer}"),
            Err(reason) => assert!(!is_reachable, "{host}: {reason}"),
        }
    }

    /// Expects a client in the log, under its own address.
    #[track_caller]
    fn assert_logged(&self, host: &str) {
        let log = self.manager.log();
        let address = format!(r#""address":"{host}:"#);
        assert!(log.iter().any(|line| line.contains("connected") && line.contains(&address)), "{log:#?}");
        assert!(!log.iter().any(|line| line.contains("::ffff:")), "{log:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_both_families_are_served_where_there_are_both() {
    // The second one is a setting of some hosts for programs that do not choose.
    for setup in ["true", "sysctl -q -w net.ipv6.bindv6only=1"] {
        let Some(server) = Server::start(setup, &[]).await else { return };
        server.check(IPV4, true);
        server.check(IPV6, true);
        server.check_grpc("localhost", true);
        server.assert_logged(IPV4);
        server.assert_logged(IPV6);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_with_ipv6_only_is_served() {
    let Some(server) = Server::start("ip address delete 127.0.0.1/8 dev lo", &[]).await else { return };
    server.check(IPV6, true);
    server.check_grpc("localhost", true);
    server.check(IPV4, false);
    server.assert_logged(IPV6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_with_ipv4_only_is_served() {
    let no_addresses = "sysctl -q -w net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1";
    let Some(server) = Server::start(no_addresses, &[]).await else { return };
    server.check(IPV4, true);
    server.check_grpc("localhost", true);
    server.check(IPV6, false);
    server.assert_logged(IPV4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kernel_without_ipv6_is_served() {
    // As with `ipv6.disable=1`: for each port, the first socket cannot be made.
    let launcher = [
        "strace",
        "-D",
        "-f",
        "-o",
        "/dev/null",
        "-e",
        "trace=socket",
        "-e",
        "inject=socket:error=EAFNOSUPPORT:when=1+2",
    ];
    if let Err(reason) = run(&launcher[..5], ["true"]) {
        report_not_run("a kernel without IPv6", &reason);
        return;
    }
    let Some(server) = Server::start("true", &launcher).await else { return };
    assert_eq!(server.manager.grpc_address(), ([0, 0, 0, 0], 8080).into());
    assert_eq!(server.manager.http_address(), ([0, 0, 0, 0], 8081).into());
    let log = server.manager.log();
    assert!(log.iter().any(|line| line.contains("listening on IPv4 only")), "{log:#?}");
    server.check(IPV4, true);
    server.check(IPV6, false);
}
