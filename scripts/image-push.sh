#!/usr/bin/env bash
# Pushes an image and verifies that the registry has exactly this image: image-push.sh FOLDER REPOSITORY TAG DIGEST
#
# FOLDER is an OCI image layout from image-index.sh; DIGEST is its output. Does nothing if the tag already has this
# digest, so a job can be repeated even with immutable tags: ECR refuses to push a tag twice, even with the same digest.
# Needs crane (scripts/release-tools.sh).
set -euo pipefail
(($# == 4)) || { echo 'usage: image-push.sh FOLDER REPOSITORY TAG DIGEST' >&2; exit 64; }
readonly folder=$1 repository=$2 tag=$3 digest=$4

made=$(jq -r '.manifests[0].digest' "$folder/index.json")
[[ $made == "$digest" ]] || { printf 'the image to push is %s, not %s\n' "$made" "$digest" >&2; exit 1; }

# If there is no such tag, or the registry does not answer, the push reports why.
if [[ $(crane digest "$repository:$tag" 2>/dev/null || true) != "$digest" ]]; then
  crane push "$folder" "$repository:$tag"
fi

pushed=$(crane digest "$repository:$tag")
[[ $pushed == "$digest" ]] || { printf '%s:%s is %s, not %s\n' "$repository" "$tag" "$pushed" "$digest" >&2; exit 1; }
printf '%s@%s\n' "$repository" "$digest"
