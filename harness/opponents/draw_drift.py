#!/usr/bin/env python3
"""Draws the life of one drift, from what really happens: somebody scales a Deployment of 5 pods to 2, without a guard and
with one. Writes an SVG to standard output.

    draw_drift.py [--server FILE] > docs/pictures/drift.svg

A time is when an independent watch saw something. Takes half a minute, and `make build` before it.
"""

import argparse
import sys
import time
from html import escape

from cluster import Cluster, Failed, Server, Watch, until

PODS, TO = 5, 2
NAMESPACE, WORKLOAD = "shop", "web"
WIDTH, LEFT, RIGHT = 880, 168, 40
LANE = 40


def observe(mode, program):
    """What happens after a `kubectl scale`, with times in seconds since the write."""
    cluster = Cluster()
    try:
        cluster.must("create", "namespace", NAMESPACE)
        cluster.must("create", "deployment", WORKLOAD, "-n", NAMESPACE, "--image=pause", f"--replicas={PODS}")
        if mode != "off":
            cluster.install_guard(mode)
        server = Server(cluster, mode, program)
        if server.call("SetDeployment", Namespace=NAMESPACE, Name=WORKLOAD, Replicas=PODS, Reason="spring sale") is None:
            raise Failed(server.refusal)
        watch = Watch(cluster)
        until("all pods are there", lambda: len(watch.pods_of(NAMESPACE)) == PODS)
        if mode != "off":
            until("it is guarded", lambda: server.call("GetDeployment", Namespace=NAMESPACE, Name=WORKLOAD).get("Guarded"))
        first = watch.pods_of(NAMESPACE)
        start = time.monotonic()
        _, printed = cluster.kubectl("scale", "deployment", WORKLOAD, "-n", NAMESPACE, f"--replicas={TO}")
        answered = time.monotonic()
        time.sleep(3)
        counts = watch.changes(NAMESPACE, start)
        gone = sorted(when for when, _, uid in watch.gone if uid in first)
        repaired = server.lines(message="repaired")
        # Without a change, the write was somewhere before its answer.
        origin = counts[0][0] if counts else answered
        return {
            "mode": mode,
            "printed": printed,
            "counts": [(when - origin, count) for when, count in counts],
            "gone": [when - origin for when in gone],
            "answered": answered - origin,
            "by": repaired[0].get("by", "") if repaired else "",
            "took_ms": repaired[0].get("took_ms") if repaired else None,
            "version": cluster.version,
        }
    finally:
        cluster.stop()


def place(seconds, span):
    """Where a moment is on the axis of time."""
    return LEFT + (WIDTH - LEFT - RIGHT) * min(max((seconds + span * 0.12) / (span * 1.12), 0), 1)


class Picture:
    def __init__(self):
        self.parts = []

    def text(self, x, y, words, kind="", anchor="start"):
        self.parts.append(f'<text x="{x:.0f}" y="{y:.0f}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>')

    def line(self, x1, y1, x2, y2, kind):
        self.parts.append(f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" class="{kind}"/>')

    def lane(self, y, name):
        self.text(LEFT - 12, y + 4, name, "lane", "end")

    def steps(self, y, values, span, height=24):
        """A value that changes with time."""
        top = max(max(value for _, value in values), 1)
        level = lambda value: y + height / 2 - height * value / top
        path, last = f"M{LEFT} {level(values[0][1]):.1f}", None
        for when, value in values[1:]:
            path += f"H{place(when, span):.1f}V{level(value):.1f}"
            last = value
        kind = "bad" if len(values) > 1 else "good"
        self.parts.append(f'<path d="{path}H{WIDTH - RIGHT}" class="{kind}"/>')
        self.text(LEFT + 6, level(values[0][1]) - 5, str(values[0][1]), "value")
        for when, value in values[1:]:
            self.text(place(when, span) + 5, level(value) - 5, str(value), "value")
        return last

    def panel(self, y, seen, span):
        """One story; returns where the next one begins."""
        guarded = seen["mode"] != "off"
        title = f"With the guard ({seen['mode']})" if guarded else "Without the guard"
        self.text(16, y, title, "title")
        self.text(16, y + 20, f"$ kubectl scale deployment web --replicas {TO}", "mono")
        y += 20
        for line in reversed(seen["printed"].splitlines()):
            # What follows is how to suspend the guard.
            for part in wrapped(line.partition("; to suspend")[0] + ("…" if "; to suspend" in line else ""), 112):
                y += 16
                self.text(16, y, part, "mono")
        y += 34
        self.lane(y, "spec.replicas")
        self.steps(y, [(-1, PODS), *seen["counts"]], span)
        y += LANE + 6
        self.lane(y, "pods of before")
        left = PODS
        values = [(-1, PODS)]
        for when in seen["gone"]:
            left -= 1
            values.append((when, left))
        # Pods go within microseconds of each other: one label for a group.
        groups = [value for index, value in enumerate(values) if index in (0, len(values) - 1) or values[index + 1][0] - value[0] > span / 30]
        self.steps(y, groups, span)
        y += LANE
        lost = f"{len(seen['gone'])} of {PODS} pods lost"
        if guarded:
            notes = [f"The API server kept {PODS}. Nothing to repair, {lost}."]
        else:
            back = seen["counts"][-1][0] * 1000
            notes = [
                f"The log names who did it: drifted by={seen['by']} via=scale, then repaired.",
                f"The count is {PODS} again after {back:.1f} ms, and yet: {lost}, because the controllers were faster.",
            ]
        for note in notes:
            self.text(LEFT, y, note, "note")
            y += 18
        y -= 18
        return y + 44


def wrapped(words, width):
    lines, line = [], ""
    for word in words.split():
        if len(line) + len(word) + 1 > width:
            lines.append(line)
            line = "   "
        line = f"{line} {word}" if line else word
    return [*lines, line]


STYLE = """
text{font:13px system-ui,sans-serif;fill:#1f2328}.title{font-weight:600;font-size:15px}.lane,.tick{fill:#59636e;font-size:12px}
.mono{font-family:ui-monospace,monospace;font-size:12px}.value{font-size:12px;font-weight:600}.note{font-size:12.5px}
path{fill:none;stroke-width:2}.good{stroke:#1a7f37}.bad{stroke:#cf222e}.axis{stroke:#818b98;stroke-width:1}
rect{fill:#fff;stroke:#d1d9e0}
"""


def draw(without, guarded):
    last = max([when for when, _ in without["counts"]] + without["gone"] + [0.02])
    span = last * 1.15
    picture = Picture()
    y = picture.panel(34, without, span)
    y = picture.panel(y, guarded, span)
    picture.line(LEFT, y - 20, WIDTH - RIGHT, y - 20, "axis")
    step = next(size for size in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if span * 1000 / size <= 9)
    for tick in range(0, int(span * 1000) + 1, step):
        x = place(tick / 1000, span)
        picture.line(x, y - 20, x, y - 15, "axis")
        picture.text(x, y, f"{tick} ms", "tick", "middle")
    picture.text(16, y, "since the write", "tick")
    y += 26
    picture.text(16, y, f"Kubernetes {without['version']} with its own controllers, as an independent watch saw it.", "tick")
    height = y + 16
    body = "\n".join(picture.parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" role="img" '
        f'aria-label="One drift, without the guard and with it">\n<style>{STYLE}</style>\n'
        f'<rect width="{WIDTH - 1}" height="{height - 1:.0f}" x=".5" y=".5" rx="6"/>\n{body}\n</svg>\n'
    )


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--server", metavar="FILE", help="the server; by default, the one of make build")
    program = arguments.parse_args().server
    sys.stdout.write(draw(observe("off", program), observe("correct", program)))


if __name__ == "__main__":
    main()
