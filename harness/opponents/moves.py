"""Those who change counts: how each of them installs a workload of 5 pods, and how it changes its count later."""

import json
import time
from pathlib import Path

from cluster import Failed, tool

PODS = 5
WORKLOAD = "web"


def manifest(count, kind_of_image="pause"):
    """The file of somebody who wants this count; `None`: the file has none."""
    labels = {"app": WORKLOAD}
    spec = {
        "selector": {"matchLabels": labels},
        "template": {
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "main", "image": kind_of_image}]},
        },
    }
    if count is not None:
        spec["replicas"] = count
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": WORKLOAD}, "spec": spec}


class Move:
    """One way to change a count with kubectl. Others are derived from this."""

    # How long it may go on changing the count by itself, in seconds.
    lasts = 0

    def __init__(self, name, *command, file=None, install="apply"):
        self.name, self.command, self.file, self.how_to_install = name, command, file, install

    def prepare(self):
        """Builds what it needs, before anything is started."""

    def version(self, cluster):
        return f"kubectl {cluster.version.removeprefix('v')}"

    def install(self, cluster, namespace):
        flags = {"apply": ["apply"], "server-side": ["apply", "--server-side"], "create": ["create"]}[self.how_to_install]
        cluster.must(*flags, "-n", namespace, "-f", "-", stdin=json.dumps(manifest(PODS)))

    def write(self, cluster, namespace, count):
        """Its exit status, and what it printed."""
        command = [part.replace("COUNT", str(count)) for part in self.command]
        text = json.dumps(manifest(count)) if "-f" in command else None
        return cluster.kubectl(*command, "-n", namespace, stdin=text)

    def goes_on(self, cluster, namespace):
        """What it has done by itself, and whether it still does."""

    def end(self, cluster, namespace):
        """Makes peace, and says how; empty if there is nothing to end."""
        if "-f" not in self.command:
            return ""
        # The first time, Kubernetes may set its default of 1.
        self.write(cluster, namespace, None)
        time.sleep(1)
        return "the count left out of the manifest"


class Edit(Move):
    def __init__(self):
        super().__init__("`kubectl edit`")

    def write(self, cluster, namespace, count):
        editor = cluster.folder / "editor"
        editor.write_text(f"#!/bin/sh\nexec sed -i 's/^  replicas: .*/  replicas: {count}/' \"$1\"\n")
        editor.chmod(0o755)
        return cluster.kubectl("edit", "deployment", WORKLOAD, "-n", namespace, environment={"KUBE_EDITOR": str(editor)})


class Undo(Move):
    """The revision before has another image. A rollout has no count, so nothing should happen to it."""

    def __init__(self):
        super().__init__("`kubectl rollout undo`")

    def write(self, cluster, namespace, count):
        status, printed = cluster.kubectl("set", "image", f"deployment/{WORKLOAD}", f"main=pause:{count}", "-n", namespace)
        if status:
            return status, printed
        time.sleep(2)  # The controller makes the revision.
        return cluster.kubectl("rollout", "undo", f"deployment/{WORKLOAD}", "-n", namespace)


class Put(Move):
    """An operator with a typed client: it reads the object, changes it and sends all of it."""

    def __init__(self):
        super().__init__("an operator that PUTs what it read")

    def write(self, cluster, namespace, count):
        found = cluster.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/{WORKLOAD}")
        found["spec"]["replicas"] = count
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{WORKLOAD}?fieldManager=some-operator"
        return cluster.kubectl("replace", "--raw", path, "-f", "-", stdin=json.dumps(found))


# A count, or nothing. It is the last key.
COUNT_OF_CHART = '{{ with .Values.replicas }}"replicas": {{ . }}{{ else }}"paused": false{{ end }}'


class Helm(Move):
    def __init__(self, major):
        super().__init__(f"Helm {major}: `helm upgrade --set replicas=…`")
        self.tool = f"helm{major}"

    def version(self, cluster):
        return f"Helm {cluster.run(tool(self.tool), 'version', '--template', '{{.Version}}')[1].removeprefix('v')}"

    def chart(self, cluster):
        chart = cluster.folder / "chart"
        if not chart.exists():
            (chart / "templates").mkdir(parents=True)
            (chart / "Chart.yaml").write_text("apiVersion: v2\nname: web\nversion: 0.1.0\n")
            text = json.dumps(manifest("COUNT")).replace('"replicas": "COUNT"', COUNT_OF_CHART)
            (chart / "templates" / "deployment.yaml").write_text(text)
        return chart

    def helm(self, cluster, namespace, count):
        command = ["upgrade", "--install", "web", self.chart(cluster), "-n", namespace]
        # Without any values, Helm takes those of the release.
        command += ["--reset-values"] if count is None else ["--set", f"replicas={count}"]
        return cluster.run(tool(self.tool), *command)

    def install(self, cluster, namespace):
        status, printed = self.helm(cluster, namespace, PODS)
        if status:
            raise Failed(printed)

    def write(self, cluster, namespace, count):
        return self.helm(cluster, namespace, count)

    def end(self, cluster, namespace):
        self.write(cluster, namespace, None)
        time.sleep(1)
        return "the count left out of the chart"


def rescales(cluster, namespace):
    """How often a HorizontalPodAutoscaler says that it has changed a count."""
    events = cluster.get(f"/api/v1/namespaces/{namespace}/events")["items"]
    return sum(event.get("count") or 1 for event in events if event["reason"] == "SuccessfulRescale")


class Autoscale(Move):
    """A HorizontalPodAutoscaler that wants at least 7. Without metrics it still keeps its minimum, every second here."""

    lasts = 20

    def __init__(self):
        super().__init__("HorizontalPodAutoscaler: `kubectl autoscale --min 7`")

    def write(self, cluster, namespace, _):
        command = ["autoscale", "deployment", WORKLOAD, "--min=7", "--max=10", "--cpu=80%", "-n", namespace]
        return cluster.kubectl(*command)

    def goes_on(self, cluster, namespace):
        return f"{rescales(cluster, namespace)} rescales in {self.lasts} s (synced every second)"

    def end(self, cluster, namespace):
        cluster.must("delete", "hpa", WORKLOAD, "-n", namespace)
        return "delete the autoscaler"


MOVES = [
    Move("`kubectl scale`", "scale", f"deployment/{WORKLOAD}", "--replicas=COUNT"),
    Move("`kubectl apply`", "apply", "-f", "-"),
    Move("`kubectl apply --server-side`", "apply", "--server-side", "-f", "-", install="server-side"),
    Move(
        "`kubectl apply --server-side --force-conflicts`",
        *("apply", "--server-side", "--force-conflicts", "-f", "-"),
        install="server-side",
    ),
    Edit(),
    Undo(),
    Put(),
    Helm(3),
    Helm(4),
    Autoscale(),
]
