#!/usr/bin/env python3
"""stage-docs.py FOLDER: copies the documents that docs/SUMMARY.md lists into a folder, for mdBook.

The copies have the layout of this repository, so that a link between two documents works on GitHub and in the book. mdBook
makes an index.html of a README.md, but does not change the links to it, so they are renamed here. Whatever else a document
links to is copied as it is. Fails if a document of docs/ is not listed.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path, PurePosixPath

LINK = re.compile(r"(\]\(|src=\")([^)#\s\"]+)")


def resolve(base, link):
    """The file that a link means, from the root of the repository. `None`: it is not a file of it."""
    if re.match(r"[a-z]+:", link):
        return None
    parts = []
    for part in (base / link).parts:
        if part == "..":
            if not parts:
                return None
            parts.pop()
        else:
            parts.append(part)
    path = PurePosixPath(*parts)
    return path if Path(path).is_file() else None


def renamed(match):
    """A link, with a README that is a chapter as index."""
    start, link = match.groups()
    is_chapter = link.endswith("README.md") and not re.match(r"[a-z]+:", link)
    return start + (link.removesuffix("README.md") + "index.md" if is_chapter else link)


def main(target):
    docs = PurePosixPath("docs")
    summary = Path("docs/SUMMARY.md").read_text()
    chapters = {resolve(docs, link) for _, link in LINK.findall(summary)}
    known = subprocess.check_output(["git", "ls-files", "--cached", "--others", "--exclude-standard", "docs/*.md"], text=True)
    missing = {PurePosixPath(path) for path in known.split()} - chapters - {docs / "SUMMARY.md"}
    missing = [str(path) for path in missing if Path(path).exists()]
    if missing:
        sys.exit(f"not in docs/SUMMARY.md: {', '.join(sorted(missing))}")
    others = set()
    for chapter in chapters:
        text = Path(chapter).read_text()
        others |= {resolve(chapter.parent, link) for _, link in LINK.findall(text)} - {None}
        copy = target / chapter
        copy.parent.mkdir(parents=True, exist_ok=True)
        if copy.name == "README.md":
            copy = copy.with_name("index.md")
        copy.write_text(LINK.sub(renamed, text))
    for path in others - chapters:
        copy = target / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    # mdBook wants it at the top.
    links = lambda match: match[1] + str(resolve(docs, match[2])).replace("README.md", "index.md")
    (target / "SUMMARY.md").write_text(LINK.sub(links, summary))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
