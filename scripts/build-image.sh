#!/usr/bin/env bash
# Builds an image with the static binary and writes it as an OCI archive, without a daemon and without pulling anything.
#
# Usage: scripts/build-image.sh [NAME:TAG]
#   NAME:TAG  the name of the image (default: replica-count-manager:VERSION, with the version in Cargo.toml)
#   TARGET    (environment) the Rust target of the binary (default: this machine's, with glibc)
#   PROFILE   (environment) the profile used for scripts/build-static.sh
#
# Writes target/image/replica-count-manager-ARCH.tar and the SBOM beside it, with the suffix .cdx.json, and prints the
# image's digest, which is the same for every build of a commit. Needs buildah, and the binary from
# scripts/build-static.sh.
set -euo pipefail
cd "$(dirname "$0")/.."

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
readonly image=${1:-"replica-count-manager:$version"}
readonly target=${TARGET:-"$(uname -m)-unknown-linux-gnu"}
case $target in
  x86_64-*) arch=amd64 ;;
  aarch64-*) arch=arm64 ;;
  *) echo "no image for $target" >&2; exit 64 ;;
esac
command -v buildah >/dev/null || { echo 'buildah is missing: install the package of that name' >&2; exit 1; }

readonly profile=${PROFILE:-release}
readonly binary=${CARGO_TARGET_DIR:-target}/$target/${profile/#dev/debug}/replica-count-manager
[[ -x $binary ]] || { echo "$binary is missing: run make build-static" >&2; exit 1; }
readonly folder=target/image
readonly archive=$folder/replica-count-manager-$arch.tar
mkdir -p "$folder"
work=$(mktemp -d "$PWD/$folder/work-XXXXXX")
# In a user namespace, layers may belong to other users, and only buildah can remove them.
trap 'buildah --root "$work/root" --runroot "$work/run" --storage-driver vfs rm --all >/dev/null 2>&1 || true
  rm -rf "$work"' EXIT
mkdir "$work/context"
cp "$binary" "$work/context/"

# Uses the time of the commit instead of the build, and omits buildah's version, so the same source has the same digest.
commit=$(git describe --always --abbrev=40 --exclude '*' --dirty)
timestamp=$(git log -1 --format=%ct)
in_work() { buildah --root "$work/root" --runroot "$work/run" --storage-driver vfs "$@"; }
in_work build --quiet --isolation chroot --format oci --arch "$arch" --os linux \
  --timestamp "$timestamp" --identity-label=false \
  --label "org.opencontainers.image.title=replica-count-manager" \
  --label "org.opencontainers.image.version=$version" \
  --label "org.opencontainers.image.revision=$commit" \
  --label "org.opencontainers.image.licenses=Apache-2.0" \
  --file Dockerfile --tag "$image" "$work/context" >/dev/null
rm -f "$archive"
in_work push --quiet --digestfile "$work/digest" "$image" "oci-archive:$archive:$image"
scripts/sbom.sh "$binary" >"${archive%.tar}.cdx.json"
printf '%s %s\n%s: %s bytes\n' "$image" "$(cat "$work/digest")" "$archive" "$(stat -c %s "$archive")"
