#!/usr/bin/env bash
# Sends the example of each receiver to a server on this machine, and checks it with the receivers' own public packages:
# Slack's blocks, the CloudEvent, and the signature of Standard Webhooks. Takes seconds. Needs `make build`, openssl and
# Python 3.11 with venv, which is installed as root on a system with apt-get. The packages are installed once, into the
# user's cache.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly packages=(cloudevents==2.2.0 slack_sdk==3.48.0 standardwebhooks==1.1.0)
readonly built=${CARGO_TARGET_DIR:-target}/debug/replica-count-manager
name=$(printf '%s\n' "${packages[@]}" | sha256sum | cut -c 1-16)
readonly home=${XDG_CACHE_HOME:-$HOME/.cache}/replica-count-manager/tools/notifications-$name

# An interrupted installation has no file with this name.
if [[ ! -e $home/complete ]]; then
  echo 'installing the packages of the receivers, once...' >&2
  rm -rf "$home"
  if ! python3 -c 'import ensurepip' 2>/dev/null && ((EUID == 0)) && command -v apt-get >/dev/null; then
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y python3-venv; } >&2
  fi
  python3 -m venv "$home"
  "$home/bin/pip" install --quiet --disable-pip-version-check "${packages[@]}" >&2
  touch "$home/complete"
fi

"$home/bin/python" scripts/notifications.py "$built"
