#!/usr/bin/env bash
# Tests how k8s.sh uses minikube, with stand-ins for minikube and for all that builds or needs a cluster. They record how they
# are called.
set -euo pipefail
cd "$(dirname "$0")/.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export CALLS=$scratch/calls
mkdir -p "$scratch/work/scripts" "$scratch/bin" "$scratch/built"
cp scripts/k8s.sh Cargo.toml "$scratch/work/" && mv "$scratch/work/k8s.sh" "$scratch/work/scripts/"

# stand_in FILE LINE...: a script that records its name and arguments, and then does the lines.
stand_in() {
  local file=$1
  shift
  printf '%s\n' '#!/usr/bin/env bash' 'echo "$(basename "$0") $*" >>"$CALLS"' "$@" >"$file"
  chmod +x "$file"
}

stand_in "$scratch/bin/minikube"
stand_in "$scratch/bin/buildah"
stand_in "$scratch/bin/go" "printf '%s\n' '\"Dir\": \"/podinfo\"'"
# The first port-forward ends k8s.sh as Ctrl-C does.
stand_in "$scratch/bin/kubectl" 'kill -TERM $PPID; exec sleep 1'
for script in build-static build-image; do stand_in "$scratch/work/scripts/$script.sh"; done
stand_in "$scratch/work/scripts/build-test-images.sh" 'echo sha256:next'
stand_in "$scratch/bin/helm4"
stand_in "$scratch/work/scripts/tool.sh" "echo $scratch/bin/helm4"
mkdir -p "$scratch/built/debug"
stand_in "$scratch/built/debug/testbed" "echo $scratch/bin/kubectl"
stand_in "$scratch/built/debug/acceptance"
mkdir -p "$scratch/work/tools/podinfo"

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
readonly image=localhost/replica-count-manager:$version

# expect WHAT PATTERN...: all patterns are in the calls, in this order.
expect() {
  local what=$1 line=0 found
  shift
  for pattern; do
    found=$(grep -nE -- "$pattern" "$CALLS" | cut -d: -f1 | awk -v after="$line" '$1 > after && !seen++' || true)
    [[ -n $found ]] || { printf '%s: there is no call like %s after line %d of\n' "$what" "$pattern" "$line"; cat "$CALLS"; exit 1; } >&2
    line=$found
  done
}

run() {
  : >"$CALLS"
  PATH=$scratch/bin:$PATH CARGO_TARGET_DIR=$scratch/built HELM=helm4 NODE='' timeout 20 "$scratch/work/scripts/k8s.sh" "$1" \
    >"$scratch/out" 2>&1 || { cat "$scratch/out" "$CALLS" >&2; exit 1; }
}

run run
expect 'k8s.sh run' '^minikube start$' '^build-static.sh' "^build-image.sh $image\$" \
  '^buildah .*pull .*oci-archive:target/image/' "^buildah .*push .*$image docker-archive:.*image.tar:$image\$" \
  '^minikube image load .*/image.tar$' \
  "^helm4 upgrade --install .*image.repository=${image%:*} .*image.tag=$version" \
  '^kubectl port-forward .* 8080:grpc$'
! grep 'next' "$CALLS" || { echo 'run loads an image that only the test needs' >&2; exit 1; }

run test
expect 'k8s.sh test' '^minikube start$' '^build-test-images.sh' '^minikube image load .*/image.tar$' \
  '^minikube image load .*/next.tar$' \
  "^acceptance .*--kubeconfig .*minikube.kubeconfig --helm helm4 --image $image --next-image localhost/replica-count-manager:next"

rm "$scratch/bin/minikube"
if PATH=$scratch/bin:/usr/bin:/bin CARGO_TARGET_DIR=$scratch/built HELM=helm4 "$scratch/work/scripts/k8s.sh" run 2>"$scratch/out"; then
  echo 'without minikube, it does not fail' >&2
  exit 1
fi
grep -q 'minikube, which must be installed' "$scratch/out"
echo 'minikube would be started, loaded and used as documented.'
