#!/usr/bin/env bash
# Verifies that an image was signed by the release workflow of this repository on the main branch: image-verify.sh IMAGE
#
# IMAGE is REPOSITORY@DIGEST. Environment: GITHUB_REPOSITORY (OWNER/REPO). Needs cosign.
set -euo pipefail
(($# == 1)) || { echo 'usage: image-verify.sh REPOSITORY@sha256:...' >&2; exit 64; }
[[ $1 == *@sha256:* ]] || { echo 'only a digest can be verified, not a tag' >&2; exit 64; }
: "${GITHUB_REPOSITORY:?}"

cosign verify \
  --certificate-oidc-issuer https://token.actions.githubusercontent.com \
  --certificate-identity "https://github.com/$GITHUB_REPOSITORY/.github/workflows/release.yml@refs/heads/main" \
  --output text "$1"
