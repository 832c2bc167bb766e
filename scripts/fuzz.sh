#!/usr/bin/env bash
# Fuzzes the parsers of external input: settings files, requests, managed fields, watches, names in certificates.
#
#   scripts/fuzz.sh [SECONDS]      time for each target (default: 60)
#
# Starts with harness/fuzz/corpus, and keeps new inputs in target/fuzz/found. An input that breaks a property is written
# to harness/fuzz/artifacts. Add it to the corpus together with the fix; `make test` then checks it. Needs rustup;
# installs a nightly toolchain, and cargo-fuzz into a cache outside the tree.
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
