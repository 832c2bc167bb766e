#!/usr/bin/env bash
# Looks for input that breaks what reads the words of others: settings files, requests, managed fields, watches,
# names in certificates.
#
#   scripts/fuzz.sh [SECONDS]      so long for each target, by default a minute
#
# Begins with harness/fuzz/corpus, and keeps what it learns in target/fuzz/found. An input that breaks something ends up
# in harness/fuzz/artifacts: it goes into the corpus together with the fix, where `make test` runs it from then on.
# Needs rustup, which installs a nightly toolchain, and installs cargo-fuzz into a cache outside the tree.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly seconds=${1:-60}
readonly version=0.13.2
readonly tools="${XDG_CACHE_HOME:-$HOME/.cache}/replica-count-manager/tools"
export PATH="$PATH:$tools/bin"

[[ "$(cargo-fuzz --version 2>/dev/null)" == "cargo-fuzz $version" ]] ||
  cargo install --locked --root "$tools" --version "$version" cargo-fuzz
cargo +nightly --version 2>/dev/null || rustup toolchain install --profile minimal nightly

for target in $(cargo +nightly fuzz list --fuzz-dir harness/fuzz); do
  printf '\n=== %s, for %d s\n' "$target" "$seconds"
  found="target/fuzz/found/$target"
  mkdir -p "$found"
  cargo +nightly fuzz run --fuzz-dir harness/fuzz --target-dir target/fuzz "$target" "$found" "harness/fuzz/corpus/$target" -- \
    -max_total_time="$seconds" -timeout=5 -rss_limit_mb=1024
done
