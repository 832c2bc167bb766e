#!/usr/bin/env bash
# Sends the example of each receiver to a server on this machine, and checks it with the receivers' own public packages:
# Slack's blocks, the CloudEvent, and the signature of Standard Webhooks. Takes seconds. Needs `make build`, openssl and
# Python 3.11 with venv; the packages are installed once, into the user's cache.
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
  python3 -m venv "$home"
  "$home/bin/pip" install --quiet --disable-pip-version-check "${packages[@]}" >&2
  touch "$home/complete"
fi

"$home/bin/python" scripts/notifications.py "$built"
