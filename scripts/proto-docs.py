#!/usr/bin/env python3
"""Writes docs/reference/messages.md from the comments of proto/deployments.proto. With --check, compares only."""

import re
import sys
from pathlib import Path

PROTO, PAGE = Path("proto/deployments.proto"), Path("docs/reference/messages.md")
FIELD = re.compile(r"(?:(optional|repeated) )?([\w.]+) (\w+) = (\d+)(?: \[.*\])?;$")
VALUE = re.compile(r"(\w+) = (\d+);$")
RPC = re.compile(r"rpc (\w+)\((\w+)\) returns \((stream )?(\w+)\);$")


def cell(words):
    """Text of a comment in a table."""
    return re.sub(r"\b(spec|status)\.(\w+)", r"`\1.\2`", " ".join(words)).replace("|", "\\|")


def link(name, known):
    return f"[`{name}`](#{name.lower()})" if name in known else f"`{name}`"


def render(text):
    known = set(re.findall(r"^(?:message|enum) (\w+)", text, re.M))
    lines = [
        "# Messages", "",
        "Every RPC, message, field and value of [the contract](../../proto/deployments.proto), from its comments: `make",
        "proto-docs` writes this page. [The API](api.md) explains how to use them.", "",
    ]
    comment, seen_syntax = [], False
    for line in (line.strip() for line in text.splitlines()):
        if line.startswith("//"):
            comment.append(line.removeprefix("//").strip())
            continue
        if line.startswith("syntax"):
            comment, seen_syntax = [], True
        elif match := re.match(r"(service|message|enum) (\w+) \{(\})?", line):
            kind, name, empty = match.groups()
            lines += ["", f"## {name}", ""]
            if comment:
                lines += [" ".join(comment), ""]
            if empty:
                lines += ["It has no fields.", ""]
            else:
                heads = {"service": "RPC | request | response", "message": "field | number | type", "enum": "value | number"}
                lines += [f"| {heads[kind]} | meaning |", "|---" * (len(heads[kind].split("|")) + 1) + "|"]
        elif match := RPC.match(line):
            name, request, stream, response = match.groups()
            answer = ("stream of " if stream else "") + link(response, known)
            lines.append(f"| `{name}` | {link(request, known)} | {answer} | {cell(comment)} |")
        elif match := FIELD.match(line):
            label, kind, name, number = match.groups()
            words = f"{label} {link(kind, known)}" if label else link(kind, known)
            lines.append(f"| `{name}` | {number} | {words} | {cell(comment)} |")
        elif match := VALUE.match(line):
            lines.append(f"| `{match[1]}` | {match[2]} | {cell(comment)} |")
        elif not line or line == "}" or line.startswith(("package", "import", "reserved", "oneof")) or not seen_syntax:
            pass
        else:
            sys.exit(f"{PROTO}: cannot read: {line}")
        comment = []
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def main():
    page = render(PROTO.read_text())
    if "--check" in sys.argv:
        if page != PAGE.read_text():
            sys.exit(f"{PAGE} is not up to date: run make proto-docs")
    else:
        PAGE.write_text(page)


if __name__ == "__main__":
    main()
