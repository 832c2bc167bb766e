"""Argo CD: its application controller and its repository server, with Redis and a Git repository of this machine."""

import json
import os
import shutil
import subprocess
import time

from cluster import Failed, free_port, until
from moves import PODS, Move, manifest
from programs import GO_PROGRAMS, program, sources

NAMESPACE = "argocd"
API = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications"
IGNORE = [{"group": "apps", "kind": "Deployment", "jsonPointers": ["/spec/replicas"]}]


def git(*arguments, cwd=None):
    identity = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=cwd, check=True, capture_output=True)


class ArgoCD(Move):
    """An Application with self-heal."""

    lasts = 40

    def __init__(self, is_server_side):
        self.is_server_side = is_server_side
        super().__init__(f"Argo CD with self-heal, {'server-side' if is_server_side else 'client-side'} apply")

    def prepare(self):
        program("argocd")
        if not shutil.which("redis-server"):
            raise Failed("redis-server is missing: install the package of that name")

    def version(self, cluster):
        return f"Argo CD {GO_PROGRAMS['argocd'][0].rpartition('@v')[2]}"

    def start(self, cluster):
        binary, folder = program("argocd"), cluster.folder / "argocd"
        source = sources(GO_PROGRAMS["argocd"][0])
        (folder / "bin").mkdir(parents=True)
        for name in ("argocd-repo-server", "argocd-application-controller"):
            (folder / "bin" / name).symlink_to(binary)
        for script in ("git-verify-wrapper.sh", "gpg-wrapper.sh"):
            shutil.copy(source / "hack" / script, folder / "bin")
            (folder / "bin" / script).chmod(0o755)
        for kind in ("application", "appproject", "applicationset"):
            cluster.must("apply", "--server-side", "-f", str(source / f"manifests/crds/{kind}-crd.yaml"))
        cluster.must("wait", "--for=condition=Established", "crd", "--all")
        cluster.must("create", "namespace", NAMESPACE)
        labels = {"app.kubernetes.io/part-of": "argocd"}
        everything = [{"group": "*", "kind": "*"}]
        project = {"sourceRepos": ["*"], "destinations": [{"namespace": "*", "server": "*"}], "clusterResourceWhitelist": everything}
        objects = [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "argocd-cm", "labels": labels}},
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "argocd-rbac-cm", "labels": labels}},
            {
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "argocd-secret", "labels": labels},
                "stringData": {"server.secretkey": "not used"},
            },
            {"apiVersion": "argoproj.io/v1alpha1", "kind": "AppProject", "metadata": {"name": "default"}, "spec": project},
        ]
        cluster.must("apply", "-n", NAMESPACE, "-f", "-", stdin="\n---\n".join(json.dumps(one) for one in objects))
        # The repository, with a clone to commit in.
        git("init", "--quiet", "--bare", "--initial-branch=main", str(folder / "repositories/all"))
        git("clone", "--quiet", str(folder / "repositories/all"), str(folder / "clone"))
        ports = {name: free_port() for name in ("git", "redis", "repo", "repo-metrics", "metrics")}
        cluster.spawn(
            "git",
            ["git", "daemon", "--listen=127.0.0.1", f"--port={ports['git']}", "--export-all",
             f"--base-path={folder / 'repositories'}"],
        )
        cluster.spawn("redis", ["redis-server", "--bind", "127.0.0.1", "--port", ports["redis"], "--save", "", "--dir", folder])
        environment = cluster.environment | {
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "ARGOCD_GPG_ENABLED": "false",
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "GNUPGHOME": str(folder),
        }
        redis = f"127.0.0.1:{ports['redis']}"
        cluster.spawn(
            "repo-server",
            [folder / "bin/argocd-repo-server", "--redis", redis, "--address=127.0.0.1", "--port", ports["repo"],
             "--metrics-address=127.0.0.1", "--metrics-port", ports["repo-metrics"], "--disable-tls", "--client-ca-path="],
            env=environment,
        )
        cluster.spawn(
            "application-controller",
            [folder / "bin/argocd-application-controller", "--namespace", NAMESPACE, "--redis", redis, "--repo-server",
             f"127.0.0.1:{ports['repo']}", "--repo-server-plaintext", "--metrics-port", ports["metrics"], "--app-resync", "60"],
            env=environment,
        )
        cluster.argocd = folder, f"git://127.0.0.1:{ports['git']}/all"

    def commit(self, cluster, namespace, count):
        """A new commit; returns its hash."""
        clone = cluster.argocd[0] / "clone"
        (clone / namespace).mkdir(exist_ok=True)
        (clone / namespace / "deployment.yaml").write_text(json.dumps(manifest(count)))
        git("add", "--all", cwd=clone)
        git("commit", "--quiet", "--message", f"{namespace}: {count}", cwd=clone)
        git("push", "--quiet", "origin", "HEAD:main", cwd=clone)
        return subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=clone, text=True).strip()

    def install(self, cluster, namespace):
        if not hasattr(cluster, "argocd"):
            self.start(cluster)
        revision = self.commit(cluster, namespace, PODS)
        wanted = {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Application",
            "metadata": {"name": namespace, "namespace": NAMESPACE},
            "spec": {
                "project": "default",
                "source": {"repoURL": cluster.argocd[1], "path": namespace, "targetRevision": "main"},
                "destination": {"server": "https://kubernetes.default.svc", "namespace": namespace},
                "syncPolicy": {
                    "automated": {"selfHeal": True},
                    "syncOptions": [f"ServerSideApply={'true' if self.is_server_side else 'false'}"],
                    "retry": {"limit": 0},
                },
            },
        }
        cluster.must("apply", "-f", "-", stdin=json.dumps(wanted))
        status, printed = self.synced(cluster, namespace, revision)
        if status:
            raise Failed(printed)

    def synced(self, cluster, namespace, revision):
        """Waits until Argo CD has tried a revision."""
        refresh = "argocd.argoproj.io/refresh=normal"
        cluster.must("annotate", "application", namespace, "-n", NAMESPACE, "--overwrite", refresh)

        def answer():
            operation = cluster.get(f"{API}/{namespace}").get("status", {}).get("operationState", {})
            if operation.get("syncResult", {}).get("revision") != revision:
                return None
            phase = operation.get("phase")
            if phase == "Succeeded":
                return 0, ""
            resources = " ".join(one.get("message", "") for one in operation["syncResult"].get("resources", []))
            return (1, f"{operation.get('message', '')} {resources}") if phase in ("Failed", "Error") else None

        return until("Argo CD has synced", answer, 120)

    def write(self, cluster, namespace, count):
        return self.synced(cluster, namespace, self.commit(cluster, namespace, count))

    def goes_on(self, cluster, namespace):
        status = cluster.get(f"{API}/{namespace}")["status"]["sync"]["status"]
        return f"heals again and again, the Application is `{status}`"

    def end(self, cluster, namespace):
        spec = {"ignoreDifferences": IGNORE, "syncPolicy": {"syncOptions": ["RespectIgnoreDifferences=true"]}}
        if self.is_server_side:
            spec["syncPolicy"]["syncOptions"].append("ServerSideApply=true")
        patch = json.dumps({"spec": spec})
        cluster.must("patch", "application", namespace, "-n", NAMESPACE, "--type=merge", "-p", patch)
        time.sleep(15)
        return "`ignoreDifferences` on `/spec/replicas` and `RespectIgnoreDifferences=true`"
