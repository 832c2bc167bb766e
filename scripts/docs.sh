#!/usr/bin/env bash
# scripts/docs.sh build|serve: builds the documents as a site into target/docs/book with mdBook, and checks the links of
# the site; serve also serves it at a port of this machine until Ctrl-C.
set -euo pipefail
cd "$(dirname "$0")/.."

case ${1:-build} in build | serve) ;; *) echo "usage: ${0##*/} build|serve" >&2; exit 64 ;; esac

mdbook=$(scripts/tool.sh mdbook)
tools=$(scripts/lint-tools.sh)
readonly site=target/docs

rm -rf "$site"
mkdir -p "$site"
cp docs/book.toml "$site/"
"$tools/python" scripts/stage-docs.py "$site/pages"
"$mdbook" build "$site" >"$site/log" 2>&1 || { cat "$site/log" >&2; exit 1; }
if grep -E 'WARN|ERROR' "$site/log" >&2; then exit 1; fi

# print.html has all pages in one, where anchors repeat.
find "$site/book" -name '*.html' ! -name print.html ! -name 404.html ! -name toc.html -print0 |
  xargs -0 "$tools/lychee" --offline --include-fragments --no-progress --quiet --root-dir "$PWD/$site/book"
printf 'The site is in %s/book.\n' "$site"

[[ ${1:-build} == build ]] || exec python3 -m http.server --bind 127.0.0.1 --directory "$site/book" 8000
