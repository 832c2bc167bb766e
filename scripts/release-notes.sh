#!/usr/bin/env bash
# Prints the release notes of a version, from CHANGELOG.md: release-notes.sh TAG
#
# TAG must be v followed by the version in Cargo.toml, and the version must have notes.
set -euo pipefail
(($# == 1)) || { echo 'usage: release-notes.sh v1.2.3' >&2; exit 64; }
cd "$(dirname "$0")/.."
readonly tag=$1 version=${1#v}

cargo=$(sed -n '/^\[workspace\.package\]/,/^\[/ s/^version = "\(.*\)"$/\1/p' Cargo.toml)
[[ $tag == "v$cargo" ]] || { printf 'the tag is %s, but Cargo.toml has version %s\n' "$tag" "$cargo" >&2; exit 1; }

notes=$(awk -v heading="## [$version]" '
  index($0, "## ") == 1 { inside = index($0, heading) == 1; next }
  /^\[[^]]*\]: / { next }
  inside { print }
' CHANGELOG.md | sed -e '/./,$!d')
[[ -n $notes ]] || { printf 'CHANGELOG.md has no section ## [%s] with notes\n' "$version" >&2; exit 1; }
printf '%s\n' "$notes"
