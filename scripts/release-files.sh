#!/usr/bin/env bash
# Builds the command line for this machine as a release has it: release-files.sh FOLDER
#
# Writes kubectl-replicas-linux-ARCHITECTURE.tar.gz with the program, its manual pages, completion scripts and the license.
# Two builds of one commit are identical.
set -euo pipefail
(($# == 1)) || { echo 'usage: release-files.sh FOLDER' >&2; exit 64; }
folder=$(realpath --canonicalize-missing "$1")
readonly folder
cd "$(dirname "$0")/.."

case $(uname -m) in
  x86_64) architecture=amd64 ;;
  aarch64) architecture=arm64 ;;
  *) echo "no release for $(uname -m)" >&2; exit 64 ;;
esac
readonly program=kubectl-replicas profile=${PROFILE:-release}
PROGRAM=$program scripts/build-static.sh >&2
mkdir -p "$folder"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "${CARGO_TARGET_DIR:-target}/$(uname -m)-unknown-linux-gnu/${profile/#dev/debug}/$program" LICENSE "$work/"
mkdir "$work/completions"
for shell in bash zsh fish; do
  "$work/$program" completion "$shell" >"$work/completions/$program.$shell"
done
MAN_PAGES=$work/man cargo test --quiet --locked -p replica-count-cli --test man >&2
tar --create --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$(git log -1 --format=%ct)" --directory "$work" . |
  gzip --no-name >"$folder/$program-linux-$architecture.tar.gz"
ls "$folder/$program-linux-$architecture.tar.gz"
