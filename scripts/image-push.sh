#!/usr/bin/env bash
# Pushes an image and makes sure that the registry has exactly that: image-push.sh FOLDER REPOSITORY TAG DIGEST
#
# FOLDER is an OCI image layout, as image-index.sh makes it; DIGEST is what that printed. Pushing again does nothing, so
# that a job can be repeated although tags are immutable: ECR refuses to push a tag twice, even with the same digest.
# Needs crane (scripts/release-tools.sh).
set -euo pipefail
(($# == 4)) || { echo 'usage: image-push.sh FOLDER REPOSITORY TAG DIGEST' >&2; exit 64; }
readonly folder=$1 repository=$2 tag=$3 digest=$4

made=$(jq -r '.manifests[0].digest' "$folder/index.json")
[[ $made == "$digest" ]] || { printf 'the image to push is %s, not %s\n' "$made" "$digest" >&2; exit 1; }

# An answer that is no digest (there is no such tag, or the registry did not answer) leads to a push, which says why.
if [[ $(crane digest "$repository:$tag" 2>/dev/null || true) != "$digest" ]]; then
  crane push "$folder" "$repository:$tag"
fi

pushed=$(crane digest "$repository:$tag")
[[ $pushed == "$digest" ]] || { printf '%s:%s is %s, not %s\n' "$repository" "$tag" "$pushed" "$digest" >&2; exit 1; }
printf '%s@%s\n' "$repository" "$digest"
