#!/usr/bin/env bash
# Combines the images of several platforms into one: image-index.sh FOLDER ARCHIVE...
#
# Each ARCHIVE is an OCI archive of one image, from `make image`. FOLDER becomes an OCI image layout with an image index
# of them all. Nothing is recompressed, so the digest, which is printed, depends only on those of the images. In GitHub
# Actions, it is also the step output `digest`, and each image's digest is an output named after its architecture. Needs
# tar, jq and sha256sum.
set -euo pipefail
(($# >= 2)) || { echo 'usage: image-index.sh FOLDER ARCHIVE...' >&2; exit 64; }
readonly folder=$1
shift

rm -rf "$folder"
mkdir -p "$folder/blobs/sha256"
printf '{"imageLayoutVersion":"1.0.0"}' >"$folder/oci-layout"

# The path of the blob with this digest.
blob() { printf '%s/blobs/sha256/%s\n' "$folder" "${1#sha256:}"; }

manifests='[]'
for archive; do
  unpacked=$(mktemp -d)
  trap 'rm -rf "$unpacked"' EXIT
  tar -xf "$archive" -C "$unpacked"
  cp "$unpacked"/blobs/sha256/* "$folder/blobs/sha256/"
  descriptor=$(jq -c 'if (.manifests | length) == 1 then .manifests[0] else error("not one image") end' "$unpacked/index.json")
  rm -rf "$unpacked"

  manifest=$(blob "$(jq -r .digest <<<"$descriptor")")
  config=$(blob "$(jq -r .config.digest "$manifest")")
  manifests=$(jq -c --argjson all "$manifests" --slurpfile config "$config" '
    $all + [{mediaType, digest, size, platform: ($config[0] | {architecture, os})}]' <<<"$descriptor")
done
trap - EXIT
jq -e 'map(.platform) | length == (unique | length)' <<<"$manifests" >/dev/null ||
  { echo 'two of the images are for the same platform' >&2; exit 1; }

# Verifies the digests of all blobs.
for file in "$folder"/blobs/sha256/*; do
  printf '%s  %s\n' "${file##*/}" "$file"
done | sha256sum --check --quiet --strict >&2

index=$(mktemp)
jq -jcS '{schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json",
  manifests: sort_by(.platform.os, .platform.architecture)}' <<<"$manifests" >"$index"
digest=sha256:$(sha256sum "$index" | cut -d' ' -f1)
jq -jcn --arg digest "$digest" --argjson size "$(wc -c <"$index")" '{schemaVersion: 2,
  mediaType: "application/vnd.oci.image.index.v1+json",
  manifests: [{mediaType: "application/vnd.oci.image.index.v1+json", digest: $digest, size: $size}]}' >"$folder/index.json"
install -m 644 "$index" "$(blob "$digest")"
rm "$index"
if [[ -n ${GITHUB_OUTPUT:-} ]]; then
  printf 'digest=%s\n' "$digest"
  jq -r '.[] | "\(.platform.architecture)=\(.digest)"' <<<"$manifests"
fi >>"${GITHUB_OUTPUT:-/dev/null}"
printf '%s\n' "$digest"
