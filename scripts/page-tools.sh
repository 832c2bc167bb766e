#!/usr/bin/env bash
# Installs what the page of `kubectl replicas ui` is built and tested with, as its lock file pins it, into a per-user cache,
# if necessary. Prints the folder of the packages, and links it into crates/cli/page.
#
# Needs Node 20.15 or newer, with npm.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
readonly page=$root/crates/cli/page

fail() { printf '%s\n' "$@" >&2; exit 1; }

command -v npm >/dev/null || fail 'The page is built with Node and npm, which are not on PATH.'
node -e 'const [major, minor] = process.versions.node.split("."); process.exit(major > 20 || (major == 20 && minor >= 15) ? 0 : 1)' ||
  fail "The page needs Node 20.15 or newer, and this is $(node --version)."

# One folder for each lock file, so branches with different versions do not conflict.
key=$(cat "$page"/package.json "$page"/package-lock.json | sha256sum | cut -c1-16)
readonly home="${XDG_CACHE_HOME:-$HOME/.cache}/replica-count-manager/tools/page-$key"

if [[ ! -e $home/complete ]]; then
  echo 'Installing the tools of the page, once...' >&2
  rm -rf "$home"
  mkdir -p "$home"
  cp "$page"/package.json "$page"/package-lock.json "$home"
  # No package may run a program of its own during the installation.
  npm ci --prefix "$home" --ignore-scripts --no-audit --no-fund --loglevel error >&2
  touch "$home/complete"
fi
# Programs find their packages beside the sources.
ln -sfn "$home/node_modules" "$page/node_modules"
printf '%s\n' "$home/node_modules"
