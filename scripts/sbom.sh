#!/usr/bin/env bash
# Prints the dependencies that are listed inside a binary as an SBOM (CycloneDX): sbom.sh BINARY
#
# The list is what `cargo auditable` put there when it was built (scripts/build-static.sh), not what a lock file says
# today. One binary gives one text. Needs jq and cargo.
set -euo pipefail
(($# == 1)) || { echo 'usage: sbom.sh BINARY' >&2; exit 64; }
readonly binary=$1 version=0.1.0
readonly tools="${XDG_CACHE_HOME:-$HOME/.cache}/replica-count-manager/tools"
export PATH="$PATH:$tools/bin"

command -v auditable2cdx >/dev/null || cargo install --locked --root "$tools" --version "$version" auditable2cdx >&2

# Those who attest an SBOM want it numbered; this number follows from the binary. Packages of this project have no place
# in a registry, for which auditable2cdx writes what no package URL may have.
serial=$(sha256sum "$binary" | sed -E 's/^(.{8})(.{4}).(.{3}).(.{3})(.{12}).*/urn:uuid:\1-\2-8\3-8\4-\5/')
auditable2cdx "$binary" | jq --arg serial "$serial" '
  {bomFormat, specVersion, serialNumber: $serial, version: 1} + .
  | (.metadata.component, .components[]).purl |= sub("&download_url=redacted$"; "")'
