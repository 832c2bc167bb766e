#!/usr/bin/env bash
# Installs the linters that .ci/tools pins into a per-user cache, if necessary, and prints their folder.
#
# Needs jq, Go, and Python 3.11 or newer with venv. As root on a system with apt-get, installs jq and python3-venv.
set -euo pipefail
cd "$(dirname "$0")/../.ci/tools"

fail() { printf '%s\n' "$@" >&2; exit 1; }

if ! command -v jq >/dev/null && ((EUID == 0)) && command -v apt-get >/dev/null; then
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y jq; } >&2
fi
command -v jq >/dev/null || fail 'The linters need jq.'
command -v go >/dev/null || fail 'actionlint has to be built, but there is no `go` on PATH: see https://go.dev/dl'
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
  fail 'The linters need python3, 3.11 or newer, on PATH.'

# One folder for each set of versions, so branches with different versions do not conflict.
key=$(cat requirements.txt go.mod go.sum | sha256sum | cut -c1-16)
readonly home="${XDG_CACHE_HOME:-$HOME/.cache}/replica-count-manager/tools/lint-$key"

if [[ ! -e $home/complete ]]; then
  echo 'Installing the linters, once...' >&2
  rm -rf "$home"
  mkdir -p "$home"
  if ! python3 -c 'import ensurepip' 2>/dev/null && ((EUID == 0)) && command -v apt-get >/dev/null; then
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y python3-venv; } >&2
  fi
  python3 -m venv "$home" >&2
  "$home/bin/pip" install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
    --requirement requirements.txt >&2
  GOWORK=off GOFLAGS=-mod=readonly CGO_ENABLED=0 go build -trimpath -o "$home/bin/" tool
  touch "$home/complete"
fi
printf '%s\n' "$home/bin"
