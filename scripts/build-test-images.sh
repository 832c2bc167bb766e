#!/usr/bin/env bash
# Builds the images that `make test-k8s` needs besides the server's, as OCI archives in target/image:
#
#   next.tar      localhost/replica-count-manager:next: the server's image with an extra label, to upgrade to
#   podinfo.tar   localhost/podinfo:1: podinfo, a third-party application, from the sources that tools/podinfo pins
#
# Prints the digest of the first one. Needs buildah, Go, and the server's image (make image).
set -euo pipefail
cd "$(dirname "$0")/.."

case $(uname -m) in
  x86_64) arch=amd64 ;;
  aarch64) arch=arm64 ;;
  *) echo "no image for $(uname -m)" >&2; exit 64 ;;
esac
readonly folder=$PWD/target/image
podinfo=$(scripts/tool.sh podinfo)
podcli=$(scripts/tool.sh podcli)

work=$(mktemp -d "$folder/work-XXXXXX")
in_work() { buildah --root "$work/root" --runroot "$work/run" --storage-driver vfs "$@"; }
# In a user namespace, layers may belong to other users, and only buildah can remove them.
trap 'in_work rm --all >/dev/null 2>&1 || true; rm -rf "$work"' EXIT

# commit CONTAINER NAME IMAGE
commit() {
  rm -f "$folder/$2.tar"
  in_work commit --quiet "$1" "$3" >/dev/null
  in_work push --quiet --digestfile "$work/digest" "$3" "oci-archive:$folder/$2.tar:$3"
}

container=$(in_work from --quiet "oci-archive:$folder/replica-count-manager-$arch.tar")
in_work config --label dev.replicacount.next=true "$container"
commit "$container" next localhost/replica-count-manager:next
cat "$work/digest"
echo

container=$(in_work from scratch)
in_work copy --quiet "$container" "$podinfo" /home/app/podinfo >/dev/null
in_work copy --quiet "$container" "$podcli" /usr/local/bin/podcli >/dev/null
in_work config --workingdir /home/app --env PATH=/usr/local/bin --user 100:101 --cmd ./podinfo "$container"
commit "$container" podinfo localhost/podinfo:1
