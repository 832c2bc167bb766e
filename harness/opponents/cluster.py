"""A control plane without nodes, a server beside it, and an independent watch: what the opponents and pictures need.

The control plane is `testbed up` (API server, etcd, the controllers of workloads and autoscalers). Nothing here needs more
than Python's standard library.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAME = "replica-count-manager"
GUARD_API = "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy"


class Failed(Exception):
    """Something did not happen."""


def built(program):
    """The path of a program that `make build` has built."""
    target = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
    path = target / "debug" / program
    if not path.exists():
        raise Failed(f"{path} is missing: run make build")
    return str(path)


def tool(name):
    """The path of a tool that scripts/tool.sh builds."""
    return subprocess.check_output([ROOT / "scripts/tool.sh", name], text=True).strip()


def until(what, condition, seconds=60.0):
    """Waits for a condition, and returns what it returned."""
    deadline = time.monotonic() + seconds
    while True:
        if result := condition():
            return result
        if time.monotonic() > deadline:
            raise Failed(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.05)


class Cluster:
    """A new control plane, which ends with `stop`."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="opponents-"))
        self.children = []
        self.testbed = built("testbed")
        programs = {}
        for program in ("kubectl", "grpcurl"):
            built_at = subprocess.check_output([self.testbed, "build", "--what", program], text=True)
            programs[program] = built_at.split()[-1]
        self.kubectl_path, self.grpcurl_path = programs["kubectl"], programs["grpcurl"]
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "HELM_CACHE_HOME": str(self.folder / "helm"),
            "HELM_CONFIG_HOME": str(self.folder / "helm"),
            "HELM_DATA_HOME": str(self.folder / "helm"),
        }
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self):
        out = self.folder / "up"
        self.spawn("control-plane", [self.testbed, "up"], stdout=open(out, "w"), env=os.environ)
        line = until("the control plane is up", lambda: re.search(r"KUBECONFIG=(.*)", out.read_text()), 180)
        self.environment["KUBECONFIG"] = self.kubeconfig = line[1].strip().strip("'")
        proxy = self.folder / "proxy"
        self.spawn("proxy", [self.kubectl_path, "proxy", "--port=0"], stdout=open(proxy, "w"))
        address = until("the proxy", lambda: re.search(r"on (\S+)", proxy.read_text()))
        self.api = f"http://{address[1]}"
        self.version = self.get("/version")["gitVersion"]

    def spawn(self, name, command, **options):
        """Starts a program that `stop` ends."""
        options.setdefault("env", self.environment)
        options.setdefault("stdout", open(self.folder / f"{name}.out", "a"))
        log = open(self.folder / f"{name}.log", "a")
        child = subprocess.Popen([str(part) for part in command], stderr=log, stdin=subprocess.DEVNULL, **options)
        self.children.append(child)
        return child

    def stop(self):
        """Ends all programs, and removes their files unless KEEP is set."""
        for child in reversed(self.children):
            if child.poll() is None:
                child.send_signal(signal.SIGINT)
                try:
                    child.wait(20)
                except subprocess.TimeoutExpired:
                    child.kill()
        if "KEEP" not in os.environ:
            shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, *command, stdin=None, environment=None):
        """Runs a program: its exit status, and what it printed."""
        done = subprocess.run(
            [str(part) for part in command],
            input=stdin,
            env=self.environment | (environment or {}),
            cwd=self.folder,
            text=True,
            capture_output=True,
            timeout=180,
            check=False,
        )
        return done.returncode, (done.stdout + done.stderr).strip()

    def kubectl(self, *arguments, stdin=None, environment=None):
        return self.run(self.kubectl_path, *arguments, stdin=stdin, environment=environment)

    def must(self, *arguments, stdin=None):
        """Runs kubectl, and fails if it does."""
        status, printed = self.kubectl(*arguments, stdin=stdin)
        if status:
            raise Failed(f"kubectl {' '.join(map(str, arguments))}: {printed}")
        return printed

    def get(self, path):
        """An object of the API."""
        with urllib.request.urlopen(self.api + path, timeout=30) as answer:
            return json.load(answer)

    def install_guard(self, mode):
        """Installs the policies of the chart, as an administrator would."""
        status, policies = self.run(
            tool("helm4"), "template", NAME, ROOT / "charts" / NAME, "--namespace", NAME,
            "--kube-version", self.version.removeprefix("v"), "--api-versions", GUARD_API,
            "--set", f"guard.mode={mode}", "--show-only", "templates/guard.yaml",
        )
        if status:
            raise Failed(policies)
        # The definition has to be there before what uses it.
        definition = "".join(f"---\n{part}" for part in policies.split("---\n") if "kind: CustomResourceDefinition" in part)
        self.must("apply", "--server-side", "-f", "-", stdin=definition)
        self.must("wait", "--for=condition=Established", "crd/replicaguards.replicacount.dev")
        self.must("apply", "--server-side", "-f", "-", stdin=policies)


class Server:
    """The server under test."""

    def __init__(self, cluster, mode="off", program=None):
        self.cluster = cluster
        folder = cluster.folder / "server"
        certificates = folder / "certificates"
        status, printed = cluster.run(built("kubectl-replicas"), "certs", "--dir", certificates)
        if status:
            raise Failed(printed)
        self.log = cluster.folder / "server.log"
        cluster.spawn(
            "server",
            [
                program or built(NAME), "--kubeconfig", cluster.kubeconfig, "--grpc-address", "127.0.0.1:0",
                "--http-address", "127.0.0.1:0", "--file-path", folder / "replicas.json", "--log-format", "json",
                "--cert-file", certificates / "server/server.crt", "--key-file", certificates / "server/server.key",
                "--ca-cert-file", certificates / "ca/ca.crt", "--guard", mode,
                "--guard-how", "kubectl replicas set",
            ],
        )
        address = until("the server listens", lambda: re.search(r'"grpc":"[^"]*:(\d+)"', self.read_log()))
        self.client = [
            cluster.grpcurl_path, "-cacert", certificates / "ca/ca.crt", "-cert", certificates / "client/client.crt",
            "-key", certificates / "client/client.key",
        ]
        self.address = f"localhost:{address[1]}"
        until("the server has read the cluster", lambda: self.call("ListDeployments") is not None)

    def read_log(self):
        return self.log.read_text() if self.log.exists() else ""

    def lines(self, **fields):
        """The lines of the log that have these fields."""
        parsed = [json.loads(line) for line in self.read_log().splitlines() if line.startswith("{")]
        return [line for line in parsed if all(line.get(key) == value for key, value in fields.items())]

    def call(self, method, **request):
        """Calls the API. `None`: it was refused."""
        status, printed = self.cluster.run(
            *self.client, "-d", json.dumps(request), self.address, f"proto.DeploymentsService.{method}"
        )
        self.refusal = printed if status else ""
        return None if status else json.loads(printed or "{}")


class Watch:
    """Every count of Deployments, every pod that goes, with the time at which it was seen."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.counts = []
        self.pods = {}
        self.gone = []
        for path, take in (("/apis/apps/v1/deployments", self._deployment), ("/api/v1/pods", self._pod)):
            listing = cluster.get(path)
            for item in listing["items"]:
                take("ADDED", item)
            query = f"?watch=true&resourceVersion={listing['metadata']['resourceVersion']}"
            threading.Thread(target=self._follow, args=(path + query, take), daemon=True).start()

    def _follow(self, path, take):
        try:
            with urllib.request.urlopen(self.cluster.api + path) as answer:
                for line in answer:
                    event = json.loads(line)
                    take(event["type"], event["object"])
        except OSError:
            pass  # The cluster was stopped.

    def _deployment(self, event, item):
        target = (item["metadata"]["namespace"], item["metadata"]["name"])
        count = item["spec"].get("replicas", 1) if event != "DELETED" else None
        known = [entry[2] for entry in self.counts if entry[1] == target]
        if not known or known[-1] != count:
            self.counts.append((time.monotonic(), target, count))

    def _pod(self, event, item):
        uid, namespace = item["metadata"]["uid"], item["metadata"]["namespace"]
        # A pod that is being deleted is lost, even if it is still there.
        if event == "DELETED" or "deletionTimestamp" in item["metadata"]:
            if self.pods.pop(uid, None):
                self.gone.append((time.monotonic(), namespace, uid))
        else:
            self.pods[uid] = namespace

    def pods_of(self, namespace):
        return {uid for uid, where in list(self.pods.items()) if where == namespace}

    def changes(self, namespace, since=0.0):
        """Counts of the namespace's workload, each with when it was seen."""
        return [(when, count) for when, target, count in list(self.counts) if target[0] == namespace and when >= since]
