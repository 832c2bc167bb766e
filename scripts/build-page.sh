#!/usr/bin/env bash
# Builds the page of `kubectl replicas ui` into crates/cli/page/built, which is committed and is part of the binary.
# `scripts/build-page.sh --check` only compares: it fails if built/ is not what the sources give, or is too large.
#
# Needs Node 20.15 or newer, with npm.
set -euo pipefail
cd "$(dirname "$0")/.."

# In bytes, compressed.
readonly max_size=150000

scripts/page-tools.sh >/dev/null
cd crates/cli/page
node_modules/.bin/tsc --project .

case ${1:-} in
  '') node build.mjs built ;;
  --check)
    fresh=$(mktemp -d)
    trap 'rm -rf "$fresh"' EXIT
    node build.mjs "$fresh"
    if ! diff -r "$fresh" built >/dev/null; then
      echo 'crates/cli/page/built is not what its sources give: run scripts/build-page.sh, and commit the result.' >&2
      exit 1
    fi
    ;;
  *) echo "usage: ${0##*/} [--check]" >&2; exit 64 ;;
esac

size=0
for file in built/*; do
  size=$((size + $(gzip -9 --stdout "$file" | wc -c)))
done
if ((size > max_size)); then
  printf 'The page has %d bytes compressed; at most %d are allowed.\n' "$size" "$max_size" >&2
  exit 1
fi
printf 'The page is current and has %d bytes compressed.\n' "$size"
