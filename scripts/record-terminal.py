#!/usr/bin/env python3
"""Records a command at a terminal as an SVG that plays by itself, also as a picture of a README on GitHub.

    record-terminal.py [--shown WORDS] -- COMMAND... > demo.svg

Each line appears when the command has printed it, but not before the one above it could be read. So the recording shows what
was printed, and in which order; how long things took is in the lines themselves. The end stays for a while, and then it
starts again. Colours and lines that are overwritten are not supported: an escape sequence is an error.
"""

import argparse
import os
import pty
import re
import subprocess
import sys
import textwrap
import time
from html import escape

COLUMNS, CHARACTER, LINE, MARGIN = 110, 7.83, 19, 16
# How long a line is shown before the next one: somebody reads about 40 characters a second in words that are not new.
SECONDS_PER_CHARACTER, END = 0.025, 8.0


def record(command):
    """The lines that the command prints, each with the seconds since its start."""
    terminal, side_of_command = pty.openpty()
    environment = os.environ | {"COLUMNS": str(COLUMNS)}
    start, lines, rest = time.monotonic(), [], b""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=side_of_command, stderr=side_of_command, env=environment)
    os.close(side_of_command)
    while True:
        try:
            data = os.read(terminal, 4096)
        except OSError:  # The last program has closed it.
            break
        *complete, rest = (rest + data).split(b"\n")
        lines += [(time.monotonic() - start, line.decode().rstrip("\r")) for line in complete]
    if status := child.wait():
        sys.exit(f"{command[0]} failed with {status}")
    for _, line in lines:
        if re.search(r"[\x00-\x08\x0b-\x1f]", line):
            sys.exit(f"not supported: {line!r}")
    return lines


def schedule(lines):
    """When each line is shown."""
    shown, clear = [], 1.0
    for at, line in lines:
        when = max(at, clear)
        shown.append((when, line))
        clear = when + 0.1 + len(line) * SECONDS_PER_CHARACTER
    return shown, clear + END


def wrapped(shown):
    """Lines as wide as the window at most."""
    for when, line in shown:
        indent = " " * (3 if line.startswith("   ") else 0)
        for part in textwrap.wrap(line, COLUMNS, subsequent_indent=indent, drop_whitespace=True) or [""]:
            yield when, (indent if part.strip() == part and line.startswith(indent) else "") + part if indent else part


def draw(words, shown, length):
    rows = [(0.0, f"$ {words}"), *wrapped(shown)]
    width, height = COLUMNS * CHARACTER + 2 * MARGIN, len(rows) * LINE + 2 * MARGIN
    moments = sorted({when for when, _ in rows if when})
    names = {when: f"l{number}" for number, when in enumerate(moments)}
    style = [
        "text{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;fill:#e6edf3;white-space:pre}",
        ".prompt{fill:#7ee787}",
    ]
    for when, name in names.items():
        percent = when / length * 100
        style.append(f"@keyframes {name}{{0%,{percent:.2f}%{{opacity:0}}{percent + 0.01:.2f}%,100%{{opacity:1}}}}")
        style.append(f".{name}{{animation:{name} {length:.1f}s linear infinite}}")
    style.append("@media (prefers-reduced-motion){text{animation:none!important}}")
    body = []
    for number, (when, line) in enumerate(rows):
        if line.strip():
            kind = names.get(when, "prompt")
            y = MARGIN + (number + 0.75) * LINE
            body.append(f'<text class="{kind}" x="{MARGIN}" y="{y:.0f}" xml:space="preserve">{escape(line)}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" role="img" '
        f'aria-label="A recording of {escape(words)}">\n<style>\n' + "\n".join(style) + "\n</style>\n"
        f'<rect width="100%" height="100%" rx="8" fill="#0d1117"/>\n' + "\n".join(body) + "\n</svg>\n"
    )


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--shown", metavar="WORDS", help="the command as the recording shows it")
    arguments.add_argument("command", nargs="+")
    arguments = arguments.parse_args()
    shown, length = schedule(record(arguments.command))
    sys.stdout.write(draw(arguments.shown or " ".join(arguments.command), shown, length))


if __name__ == "__main__":
    main()
