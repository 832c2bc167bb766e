#!/usr/bin/env bash
# Draws the pictures of the README from what really happens. Needs `make build`, and a minute or two.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly pictures=docs/pictures
mkdir -p "$pictures"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# By rename, so that a failure leaves the picture of before.
harness/opponents/draw_drift.py "$@" >"$scratch/drift.svg"
CARGO_TERM_QUIET=true scripts/record-terminal.py --shown 'make demo' -- make --silent demo >"$scratch/demo.svg"
mv "$scratch"/*.svg "$pictures/"
