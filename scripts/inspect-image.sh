#!/usr/bin/env bash
# Checks the image from `make image`: a single, small, static file of this commit, run by an unprivileged user, with
# labels, a list of dependencies, and root certificates.
#
# TARGET (environment): as for build-image.sh. The machine must be able to run the binary. Needs jq, tar and readelf.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly size_limit=20000000
readonly target=${TARGET:-"$(uname -m)-unknown-linux-gnu"}
case $target in
  x86_64-*) arch=amd64 ;;
  aarch64-*) arch=arm64 ;;
  *) echo "no image for $target" >&2; exit 64 ;;
esac
readonly archive=target/image/replica-count-manager-$arch.tar sbom=target/image/replica-count-manager-$arch.cdx.json
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/image" "$work/root"
tar -xf "$archive" -C "$work/image"

failed=0
ok() { printf 'ok      %s\n' "$1"; }
fail() { printf 'FAILED  %s\n' "$*"; failed=1; }
# same WHAT FOUND EXPECTED
same() { if [[ $2 == "$3" ]]; then ok "$1"; else fail "$1: found ${2@Q} instead of ${3@Q}"; fi; }
# holds WHAT COMMAND...
holds() { if "${@:2}"; then ok "$1"; else fail "$1"; fi; }
blob() { printf '%s/image/blobs/sha256/%s\n' "$work" "${1#sha256:}"; }
none_of() { ! grep -aqF -f <(printf '%s\n' "$@") "$binary"; }

manifest=$(blob "$(jq -er '.manifests[0].digest' "$work/image/index.json")")
config=$(blob "$(jq -er .config.digest "$manifest")")
of_config() { jq -r "$1" "$config"; }
same 'platform' "$(of_config '"\(.os)/\(.architecture)"')" "linux/$arch"
same 'user' "$(of_config .config.User)" 65532:65532
same 'entry point' "$(of_config '.config | [.Entrypoint, .Cmd] | tojson')" '[["/replica-count-manager"],null]'
same 'time of the commit' "$(of_config '.created | fromdate')" "$(git log -1 --format=%ct)"
same 'labels' "$(of_config '.config.Labels | to_entries | sort_by(.key)[] | "\(.key)=\(.value)"')" "$(cat <<END
org.opencontainers.image.licenses=Apache-2.0
org.opencontainers.image.revision=$(git describe --always --abbrev=40 --exclude '*' --dirty)
org.opencontainers.image.title=replica-count-manager
org.opencontainers.image.version=$version
END
)"

jq -r '.layers[].digest' "$manifest" | while read -r layer; do
  tar -tvf "$(blob "$layer")" --numeric-owner | awk '{ print $1, $2, $NF }'
  tar -xf "$(blob "$layer")" -C "$work/root"
done >"$work/files"
# Only one file: no shell, no libraries, and nothing that grants privileges.
same 'all files' "$(grep -v '/$' "$work/files")" '-r-xr-xr-x 0/0 replica-count-manager'

readonly binary=$work/root/replica-count-manager
bytes=$(stat -c %s "$binary")
holds "below $size_limit bytes: $bytes unpacked, $(stat -c %s "$archive") packed" test "$bytes" -lt "$size_limit"
holds 'needs no interpreter and no libraries' \
  awk '/INTERP|NEEDED/ { exit 1 }' <(readelf --wide --program-headers --dynamic "$binary")
holds 'contains no paths of the build machine' \
  none_of "$PWD" "${CARGO_HOME:-$HOME/.cargo}" "$(rustc --print sysroot)"
holds 'contains root certificates' grep -aqF 'ISRG Root X1' "$binary"
same 'version' "$(env -i "$binary" --version)" "replica-count-manager $version"

scripts/sbom.sh "$binary" >"$work/sbom"
holds 'the SBOM beside the archive matches the binary' cmp "$work/sbom" "$sbom"
cargo tree --locked --package replica-count-manager --edges normal --target "$target" --prefix none --format '{p}' |
  awk '{ print $1 "@" substr($2, 2) }' | sort -u >"$work/expected"
jq -r '(.metadata.component, .components[]) | "\(.name)@\(.version)"' "$work/sbom" | sort -u >"$work/found"
same 'the SBOM lists all dependencies' "$(comm -13 "$work/found" "$work/expected")" ''

exit "$failed"
