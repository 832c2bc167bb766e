#!/usr/bin/env bash
# Builds the image of HEAD twice, from clean clones and without any cache, and fails if they differ.
#
# The two builds differ in what must not matter: path, cargo home, umask, language, time zone and time. Takes as long as
# two release builds. Needs what `make image` needs, and the network, because cargo downloads everything again.
set -euo pipefail
# Makes functions in $(...) also stop at their first error.
shopt -s inherit_errexit
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# build FOLDER UMASK LANGUAGE ZONE: prints the digest of the image.
build() (
  mkdir -p "$1/cargo"
  # Copies the registry configuration, but no downloads.
  for config in "${CARGO_HOME:-$HOME/.cargo}"/config{,.toml}; do
    [[ ! -e $config ]] || cp "$config" "$1/cargo/"
  done
  umask "$2"
  unset CARGO_TARGET_DIR
  export CARGO_HOME=$1/cargo LC_ALL=$3 TZ=$4
  git clone --quiet --no-local . "$1/source"
  cd "$1/source"
  scripts/build-static.sh >&2
  scripts/build-image.sh compared | sed -n 's/^compared //p'
)

first=$(build "$work/a" 022 C UTC0)
second=$(build "$work/another/much/longer/path" 077 C.UTF-8 XXX-05:45)
printf '%s\n%s\n' "$first" "$second"
for digest in "$first" "$second"; do
  [[ $digest =~ ^sha256:[0-9a-f]{64}$ ]] || { echo 'a build printed no digest' >&2; exit 1; }
done
if [[ $first != "$second" ]]; then
  find "$work" -path '*/release/replica-count-manager' -exec sha256sum {} + >&2
  echo 'two builds of one commit differ' >&2
  exit 1
fi
