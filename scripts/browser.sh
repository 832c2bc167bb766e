#!/usr/bin/env bash
# Prints the path of a Chromium for the tests of the page. As root on a system with apt-get, or with sudo in CI, installs
# it with a font, if necessary. CHROMIUM=PATH names another one.
set -euo pipefail

find_chromium() {
  local name
  for name in ${CHROMIUM:+"$CHROMIUM"} chromium chromium-browser google-chrome google-chrome-stable; do
    if command -v "$name"; then return 0; fi
  done
  return 1
}

if ! find_chromium >/dev/null; then
  root=()
  ((EUID == 0)) || { [[ -n ${CI:-} ]] && root=(sudo -n); } || { echo 'Chromium is missing.' >&2; exit 1; }
  command -v apt-get >/dev/null || { echo 'Chromium is missing, and there is no apt-get.' >&2; exit 1; }
  {
    "${root[@]}" apt-get update -qq
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium fonts-inter
  } >&2
fi
find_chromium
