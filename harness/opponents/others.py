"""Opponents that are programs of their own beside Kubernetes: Flux, KEDA, a downscaler."""

import hashlib
import io
import json
import shutil
import tarfile
import threading
import time
from datetime import datetime, timezone
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

from cluster import Failed, until
from moves import PODS, WORKLOAD, Autoscale, Move, manifest
from programs import DOWNSCALER, FLUX_SOURCES, GO_PROGRAMS, downscaler, program, sources


def install_definitions(cluster, *folders):
    for folder in folders:
        cluster.must("apply", "--server-side", "-f", str(folder / "config/crd/bases"))
    cluster.must("wait", "--for=condition=Established", "crd", "--all")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class Flux(Move):
    """kustomize-controller. What source-controller makes from Git is made by hand: an archive, a web server, a status."""

    lasts = 25
    interval = "5s"

    def __init__(self):
        super().__init__("Flux kustomize-controller")

    def prepare(self):
        program("kustomize-controller")
        sources(FLUX_SOURCES)

    def version(self, cluster):
        return f"Flux kustomize-controller {GO_PROGRAMS['kustomize-controller'][0].rpartition('@v')[2]}"

    def start(self, cluster):
        binary = program("kustomize-controller")
        install_definitions(cluster, sources(GO_PROGRAMS["kustomize-controller"][0]), sources(FLUX_SOURCES))
        self.folder = cluster.folder / "artifacts"
        self.folder.mkdir()
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(self.folder)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{server.server_port}"
        flags = ["--metrics-addr=127.0.0.1:0", "--health-addr=127.0.0.1:0"]
        cluster.spawn("flux", [binary, *flags], env=cluster.environment | {"RUNTIME_NAMESPACE": "default"})

    def publish(self, cluster, namespace, count):
        """A new revision of the source; returns it."""
        text = json.dumps(manifest(count)).encode()
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w:gz") as tar:
            info = tarfile.TarInfo("deployment.yaml")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text))
        data = archive.getvalue()
        digest = hashlib.sha256(data).hexdigest()
        (self.folder / f"{digest}.tar.gz").write_bytes(data)
        revision = f"main@sha1:{hashlib.sha1(data).hexdigest()}"
        artifact = {
            "path": f"{digest}.tar.gz",
            "url": f"{self.url}/{digest}.tar.gz",
            "revision": revision,
            "digest": f"sha256:{digest}",
            "lastUpdateTime": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "size": len(data),
        }
        ready = {
            "type": "Ready", "status": "True", "reason": "Succeeded", "message": "",
            "lastTransitionTime": artifact["lastUpdateTime"],
        }
        patch = json.dumps({"status": {"artifact": artifact, "conditions": [ready], "observedGeneration": 1}})
        cluster.must("patch", "gitrepository", "source", "-n", namespace, "--subresource=status", "--type=merge", "-p", patch)
        return revision

    def install(self, cluster, namespace):
        if not getattr(cluster, "has_flux", False):
            self.start(cluster)
            cluster.has_flux = True
        source = {
            "apiVersion": "source.toolkit.fluxcd.io/v1",
            "kind": "GitRepository",
            "metadata": {"name": "source", "namespace": namespace},
            "spec": {"url": "https://git.example.com/a", "interval": "1h"},
        }
        kustomization = {
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
            "kind": "Kustomization",
            "metadata": {"name": "all", "namespace": namespace},
            "spec": {
                "interval": self.interval, "retryInterval": self.interval, "path": "./", "prune": False,
                "targetNamespace": namespace, "sourceRef": {"kind": "GitRepository", "name": "source"},
            },
        }
        cluster.must("apply", "-f", "-", stdin=json.dumps(source))
        revision = self.publish(cluster, namespace, PODS)
        cluster.must("apply", "-f", "-", stdin=json.dumps(kustomization))
        status, printed = self.reconciled(cluster, namespace, revision)
        if status:
            raise Failed(printed)

    def reconciled(self, cluster, namespace, revision):
        """Waits for a revision to be applied, or refused."""
        path = f"/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/{namespace}/kustomizations/all"

        def answer():
            status = cluster.get(path).get("status", {})
            if status.get("lastAttemptedRevision") != revision:
                return None
            if status.get("lastAppliedRevision") == revision:
                return 0, ""
            ready = next((one for one in status.get("conditions", []) if one["type"] == "Ready"), {})
            return (1, ready["message"]) if ready.get("status") == "False" else None

        return until("Flux has applied it", answer, 60)

    def write(self, cluster, namespace, count):
        return self.reconciled(cluster, namespace, self.publish(cluster, namespace, count))

    def goes_on(self, cluster, namespace):
        return f"applies it every {self.interval}"

    def end(self, cluster, namespace):
        self.write(cluster, namespace, None)
        time.sleep(8)
        return "the count left out of Git"


class Keda(Autoscale):
    """A ScaledObject between 7 and 10. Its trigger is a clock, and the HPA that KEDA makes keeps the minimum."""

    lasts = 30

    def __init__(self):
        Move.__init__(self, "KEDA: ScaledObject with `minReplicaCount: 7`")

    def prepare(self):
        program("keda")

    def version(self, cluster):
        return f"KEDA {GO_PROGRAMS['keda'][0].rpartition('@v')[2]}"

    def start(self, cluster):
        binary = program("keda")
        cluster.must("apply", "--server-side", "-f", str(sources(GO_PROGRAMS["keda"][0]) / "config/crd/bases"))
        cluster.must("wait", "--for=condition=Established", "crd", "--all")
        ours = cluster.folder / "server/certificates"
        certificates = cluster.folder / "keda"
        certificates.mkdir()
        for file, name in (("ca/ca.crt", "ca.crt"), ("server/server.crt", "tls.crt"), ("server/server.key", "tls.key")):
            shutil.copy(ours / file, certificates / name)
        flags = [
            "--metrics-bind-address=127.0.0.1:0", "--health-probe-bind-address=127.0.0.1:0",
            "--metrics-service-bind-address=127.0.0.1:0", f"--cert-dir={certificates}",
            "--enable-webhook-patching=false", "--enable-apiservice-patching=false",
        ]
        environment = {"POD_NAMESPACE": "default", "WATCH_NAMESPACE": "", "KEDA_CLUSTER_OBJECT_NAMESPACE": "default"}
        cluster.spawn("keda", [binary, *flags], env=cluster.environment | environment)

    def install(self, cluster, namespace):
        if not getattr(cluster, "has_keda", False):
            self.start(cluster)
            cluster.has_keda = True
        super().install(cluster, namespace)

    def write(self, cluster, namespace, _):
        clock = {"timezone": "UTC", "start": "0 0 * * *", "end": "59 23 * * *", "desiredReplicas": "7"}
        wanted = {
            "apiVersion": "keda.sh/v1alpha1",
            "kind": "ScaledObject",
            "metadata": {"name": WORKLOAD, "namespace": namespace},
            "spec": {
                "scaleTargetRef": {"name": WORKLOAD}, "minReplicaCount": 7, "maxReplicaCount": 10,
                "triggers": [{"type": "cron", "metadata": clock}],
            },
        }
        return cluster.kubectl("apply", "-f", "-", stdin=json.dumps(wanted))

    def end(self, cluster, namespace):
        annotation = "autoscaling.keda.sh/paused=true"
        cluster.must("annotate", "scaledobject", WORKLOAD, "-n", namespace, annotation)
        return "annotation `paused`"


class Downscaler(Move):
    """Scales everything of a namespace to 0, and later to what its annotation says."""

    def __init__(self):
        super().__init__("kubedownscaler, `--down` and `--up`")
        self.flags = iter(())

    def prepare(self):
        downscaler()

    def version(self, cluster):
        return DOWNSCALER.replace("==", " ")

    def install(self, cluster, namespace):
        super().install(cluster, namespace)
        self.flags = iter(("--down", "--up"))

    def write(self, cluster, namespace, _):
        return cluster.run(downscaler(), next(self.flags), "-n", namespace)


OTHERS = [Flux(), Keda(), Downscaler()]
