#!/usr/bin/env bash
# Prints an SBOM (CycloneDX) of the dependencies embedded in a binary: sbom.sh BINARY
#
# `cargo auditable` embedded the list during the build (scripts/build-static.sh), so it does not depend on the current
# lock file. The output is reproducible. Needs jq and cargo.
set -euo pipefail
(($# == 1)) || { echo 'usage: sbom.sh BINARY' >&2; exit 64; }
readonly binary=$1 version=0.1.0
readonly tools="${XDG_CACHE_HOME:-$HOME/.cache}/replica-count-manager/tools"
export PATH="$PATH:$tools/bin"

command -v auditable2cdx >/dev/null || cargo install --locked --root "$tools" --version "$version" auditable2cdx >&2

# Attestations require a serial number; this one is derived from the binary. For packages of this project, which are in
# no registry, auditable2cdx writes an invalid package URL, which is fixed here.
serial=$(sha256sum "$binary" | sed -E 's/^(.{8})(.{4}).(.{3}).(.{3})(.{12}).*/urn:uuid:\1-\2-8\3-8\4-\5/')
auditable2cdx "$binary" | jq --arg serial "$serial" '
  {bomFormat, specVersion, serialNumber: $serial, version: 1} + .
  | (.metadata.component, .components[]).purl |= sub("&download_url=redacted$"; "")'
