#!/usr/bin/env bash
# Signs an image with the identity of the running workflow, without a key: image-sign.sh IMAGE
#
# IMAGE is REPOSITORY@DIGEST. Does nothing if it is already signed, so a job can be repeated. Needs cosign, and a job
# with id-token: write.
set -euo pipefail
(($# == 1)) || { echo 'usage: image-sign.sh REPOSITORY@sha256:...' >&2; exit 64; }
[[ $1 == *@sha256:* ]] || { echo 'only a digest can be signed, not a tag' >&2; exit 64; }
cd "$(dirname "$0")/.."

if ! scripts/image-verify.sh "$1" 2>/dev/null; then
  cosign sign --yes "$1"
  scripts/image-verify.sh "$1"
fi
