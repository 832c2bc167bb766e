#!/usr/bin/env python3
"""Lets real programs change the count of a managed workload in each mode of the guard, and writes what happened as tables
into docs/how-to/gitops.md.

    opponents.py [--mode MODE]... [--only WORDS] [--without WORDS]... [--print]

Each mode has a control plane of its own, with the controllers that make and delete pods and the one of autoscalers. There
are no nodes, so pods exist but do not run; a pod is lost when it is deleted. Takes some minutes, and `make build` before it.
"""

import argparse
import re
import subprocess
import sys
import time
from datetime import date

from cluster import ROOT, Cluster, Failed, Server, Watch, until
from moves import MOVES, PODS, WORKLOAD
from others import OTHERS

MODES = ("off", "warn", "deny", "correct")
PAGE = ROOT / "docs/how-to/gitops.md"
BEGIN, END = "<!-- opponents: begin -->", "<!-- opponents: end -->"
# What each of them tries first, and what the second time.
FIRST, AGAIN = 2, 4
# How long nothing may happen until it is over.
QUIET = 2.0


def say(words):
    print(words, file=sys.stderr, flush=True)


def owner(cluster, namespace):
    """Who owns the count, according to Kubernetes."""
    item = cluster.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/{WORKLOAD}")
    owners = []
    for entry in item["metadata"].get("managedFields", []):
        if "f:replicas" in entry.get("fieldsV1", {}).get("f:spec", {}):
            owners.append(f"`{entry['manager']}`")
    return ", ".join(owners) or "nobody"


def wait_until_quiet(watch, namespace, least):
    """Waits until the counts and pods of a namespace have not changed for a while."""
    time.sleep(least)
    deadline = time.monotonic() + 30

    def is_quiet():
        moments = [when for when, _ in watch.changes(namespace)] + [when for when, where, _ in list(watch.gone) if where == namespace]
        return time.monotonic() - max(moments, default=0) > QUIET or time.monotonic() > deadline

    until("it is quiet", is_quiet, 60)


def answer(status, printed):
    """What the program said, in a few words."""
    flat = " ".join(printed.split())
    if status == 0:
        return "success, with the warning" if "is kept at" in flat else "success"
    if conflict := re.search(r'conflicts? with "([^"]+)"', flat):
        return f"fails: conflict with `{conflict[1]}`"
    if "is kept at" in flat:
        return "fails: refused by the guard"
    return f"fails: {flat[:80]}"


def try_once(cluster, server, watch, move, namespace, count):
    """One change: what the program said, and what became of the count."""
    start = time.monotonic()
    status, printed = move.write(cluster, namespace, count)
    wait_until_quiet(watch, namespace, move.lasts)
    counts = [count for _, count in watch.changes(namespace, start)]
    return answer(status, printed), counts


def outcome(counts):
    """What became of the count, in a few words."""
    if not counts:
        return "stays"
    if len(counts) > 6:
        return f"changes {len(counts)} times, is {counts[-1]}"
    return " → ".join(str(count) for count in [PODS, *counts])


def play(cluster, server, watch, move, namespace, mode):
    """A row of the table."""
    cluster.must("create", "namespace", namespace)
    move.install(cluster, namespace)
    until("all pods are there", lambda: len(watch.pods_of(namespace)) == PODS)
    target = {"Namespace": namespace, "Name": WORKLOAD}
    if server.call("SetDeployment", **target, Replicas=PODS) is None:
        raise Failed(server.refusal)
    if mode != "off":
        until("it is guarded", lambda: server.call("GetDeployment", **target).get("Guarded"))
    before = watch.pods_of(namespace)
    said, counts = try_once(cluster, server, watch, move, namespace, FIRST)
    got = server.call("GetDeployment", **target)
    drift = got.get("LastDrift", {})
    names = drift.get("By") or (f"unknown, likely {drift['LikelyBy']}" if drift.get("LikelyBy") else "unknown")
    lost = len([uid for _, where, uid in watch.gone if where == namespace and uid in before])
    row = [
        move.name,
        said,
        outcome(counts),
        # A rollout replaces all pods, and is asked to.
        "as asked" if "undo" in move.name else str(lost),
        f"`{names}`" if drift and " " not in names else names if drift else "no drift",
        owner(cluster, namespace),
    ]
    if move.lasts:
        row.append(f"{move.goes_on(cluster, namespace)}; `{got.get('State')}`")
    else:
        said, counts = try_once(cluster, server, watch, move, namespace, AGAIN)
        row.append(said if said.startswith("fails") else f"{said}, {outcome(counts)}")
    row.append(peace(cluster, watch, move, namespace))
    return row


def peace(cluster, watch, move, namespace):
    """What ends it, and whether it did: nothing may change afterwards."""
    how = move.end(cluster, namespace)
    if not how:
        return ""
    until("the count is as desired", lambda: watch.changes(namespace)[-1][1] == PODS, 60)
    start = time.monotonic()
    if move.lasts:
        time.sleep(10)
    elif "manifest" in how or "chart" in how:
        move.write(cluster, namespace, None)
    wait_until_quiet(watch, namespace, 0)
    changes = watch.changes(namespace, start)
    return f"{how}: {'not enough' if changes else 'quiet'}"


def run(mode, moves):
    """The rows of a mode, and the versions."""
    cluster = Cluster()
    try:
        say(f"{mode}: Kubernetes {cluster.version}")
        if mode != "off":
            cluster.install_guard(mode)
        server, watch = Server(cluster, mode), Watch(cluster)
        rows = []
        for number, move in enumerate(moves):
            try:
                rows.append(play(cluster, server, watch, move, f"opponent-{number}", mode))
            except Failed as error:
                rows.append([move.name, f"NOT TRIED: {error}"[:200], *[""] * (len(HEADINGS) - 2)])
            say(f"{mode}: {' | '.join(rows[-1])}")
        return rows, [move.version(cluster) for move in moves], cluster.version
    finally:
        cluster.stop()


HEADINGS = ["tool", "says", "count", "pods lost of 5", "named", "owner of the count afterwards", "the next time", "what ends it (tried)"]


def table(rows):
    lines = [HEADINGS, ["---"] * len(HEADINGS), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def prepared(moves):
    """Those that can be had, and the names of the others."""
    ready, missing = [], []
    for move in moves:
        try:
            move.prepare()
            ready.append(move)
        except (Failed, OSError, subprocess.CalledProcessError) as error:
            say(f"{move.name}: {error}")
            missing.append(move.name)
    return ready, missing


def render(results, missing):
    versions = sorted({version for _, (_, versions, _) in results for version in versions})
    kubernetes = results[0][1][2]
    parts = [
        BEGIN,
        f"Written by `make opponents` on {date.today():%d %B %Y}: Kubernetes {kubernetes}, {', '.join(versions)}. The count is "
        f"kept at {PODS}; each tool tries {FIRST}, and the next time {AGAIN}. A count that `stays` was never stored otherwise.",
    ]
    if missing:
        parts.append(f"Could not be had for this run: {', '.join(missing)}.")
    for mode, (rows, _, _) in results:
        parts += [f"### Guard `{mode}`", table(rows)]
    return "\n\n".join([*parts, END])


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--mode", action="append", choices=MODES, help="only this mode")
    arguments.add_argument("--only", default="", metavar="WORDS", help="only opponents whose name contains this")
    arguments.add_argument("--without", action="append", default=[], metavar="WORDS", help="leave out those with this name")
    arguments.add_argument("--print", action="store_true", help="print the tables, and leave the page as it is")
    arguments = arguments.parse_args()
    chosen = [move for move in MOVES + OTHERS if arguments.only in move.name]
    moves, missing = prepared([move for move in chosen if not any(words in move.name for words in arguments.without)])
    text = render([(mode, run(mode, moves)) for mode in arguments.mode or MODES], missing)
    if arguments.print:
        print(text)
        return
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(before + text + after)


if __name__ == "__main__":
    main()
