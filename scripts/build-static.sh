#!/usr/bin/env bash
# Builds the server, or another program, for release: static, reproducible, with an embedded list of its dependencies.
#
# Usage: scripts/build-static.sh [TARGET]
#   TARGET   a Rust target (default: this machine's, with glibc)
#   PROFILE  (environment) the cargo profile (default: release; dev builds faster)
#   PROGRAM  (environment) replica-count-manager (default) or kubectl-replicas
#
# Two builds of a commit in different folders are identical: paths are remapped, and the only other inputs from the
# machine are its C compiler and C library. Prints the path of the result at the end.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly target=${1:-"$(uname -m)-unknown-linux-gnu"}
readonly profile=${PROFILE:-release} program=${PROGRAM:-replica-count-manager}
case $program in
  replica-count-manager) package=replica-count-manager ;;
  kubectl-replicas) package=replica-count-cli ;;
  *) echo "no such program: $program" >&2; exit 64 ;;
esac
readonly auditable_version=0.7.7
readonly tools="${XDG_CACHE_HOME:-$HOME/.cache}/replica-count-manager/tools"
export PATH="$PATH:$tools/bin"

cargo auditable --version >/dev/null 2>&1 ||
  cargo install --locked --root "$tools" --version "$auditable_version" cargo-auditable

cargo_home=${CARGO_HOME:-$HOME/.cargo}
sysroot=$(rustc --print sysroot)
target_folder=$(realpath --canonicalize-missing "${CARGO_TARGET_DIR:-target}")
# If several match, the last one wins.
maps=("$PWD=/src" "$target_folder=/src/target" "$cargo_home=/cargo" "$sysroot=/rust")
rust_flags=(-C target-feature=+crt-static)
c_flags=()
for map in "${maps[@]}"; do
  rust_flags+=("--remap-path-prefix=$map")
  c_flags+=("-ffile-prefix-map=$map")
done
export CFLAGS="${c_flags[*]}" CXXFLAGS="${c_flags[*]}"
# Paths in flags may contain spaces, so this variable separates the flags with a character that paths do not contain.
CARGO_ENCODED_RUSTFLAGS=$(IFS=$'\x1f' && printf '%s' "${rust_flags[*]}")
export CARGO_ENCODED_RUSTFLAGS

cargo auditable build --locked --profile "$profile" --package "$package" --target "$target"
binary=${CARGO_TARGET_DIR:-target}/$target/${profile/#dev/debug}/$program
if readelf --program-headers "$binary" | grep -q INTERP; then
  echo "$binary is not static" >&2
  exit 1
fi
printf '%s: %s bytes\n' "$binary" "$(stat -c %s "$binary")"
