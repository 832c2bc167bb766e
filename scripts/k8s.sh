#!/usr/bin/env bash
# Runs the chart of this checkout on a cluster with nodes.
#
#   k8s.sh test [--kubeconfig FILE]   verifies the promises of the documentation on running pods, and prints a table
#   k8s.sh run [--kubeconfig FILE]    installs it, prints the notes, and forwards port 8080 until Ctrl-C
#   k8s.sh check                      fails with the reason if test cannot use NODE=local on this machine
#
# The cluster:
#   --kubeconfig FILE  your own; its nodes must be able to pull IMAGE and, for test, NEXT_IMAGE: another server image
#   NODE=local         a real node on this machine, with locally built images; needs root, and lists missing packages
#   neither            minikube, which is started if necessary, with locally built images
# Other environment variables:
#   HELM     helm3, helm4 or, for test, both: helm3,helm4 (default: both for test, helm4 for run)
#   PROFILE  release (default), or dev, which builds the server in a minute or two
#   ONLY     for test, the steps to run
#   VALUES   for your own cluster, a file of additional chart values
#
# Needs what `make` needs, and buildah to build images. Writes its results to target/test-k8s.
set -euo pipefail
# Makes functions in $(...) also stop at their first error.
shopt -s inherit_errexit
cd "$(dirname "$0")/.."

readonly name=replica-count-manager built=${CARGO_TARGET_DIR:-target}/debug folder=$PWD/target/test-k8s
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
readonly version local_image=localhost/$name:$version

say() { printf '=== %s\n' "$*" >&2; }
fail() { printf '%s\n' "$@" >&2; exit 64; }

case $(uname -m) in
  aarch64) archive=target/image/$name-arm64.tar ;;
  *) archive=target/image/$name-amd64.tar ;;
esac

# need PROGRAM: the program and its package have the same name. Also searches the system folders, like the node.
need() {
  PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin command -v "$1" >/dev/null ||
    fail "$1 is missing: install the package of that name"
}

# check_node test|run: checks the machine before anything is built.
check_node() {
  "$built/testbed" node --check
  need buildah
  [[ $1 == run ]] || need conntrack
}

# build_images test|run: builds the images for a node. For test, prints the digest of the image to upgrade to.
build_images() {
  scripts/build-static.sh >&2
  scripts/build-image.sh "$local_image" >&2
  [[ $1 == run ]] || scripts/build-test-images.sh
}

# prepare test|run: downloads and builds everything, because later there is no network. For test, also sets the start of
# the acceptance command.
prepare() {
  local tool
  for tool in ${helm//,/ }; do scripts/tool.sh "$tool" >/dev/null; done
  "$built/testbed" build --what kubectl,grpcurl >/dev/null
  mkdir -p "$folder"
  [[ $1 == test ]] || return 0
  podinfo_chart=$(cd tools/podinfo && GOWORK=off GOFLAGS=-mod=readonly go mod download -json github.com/stefanprodan/podinfo |
    sed -n 's/.*"Dir": "\(.*\)".*/\1/p')/charts/podinfo
  acceptance=("$built/acceptance" --podinfo-chart "$podinfo_chart" ${ONLY:+--only "$ONLY"})
}

# install IMAGE KUBECONFIG [ARGUMENT...]: installs the chart of this checkout, then forwards port 8080.
install() {
  local image=$1
  export KUBECONFIG=$2
  shift 2
  PATH=$(dirname "$("$built/testbed" build --what kubectl)"):$(dirname "$("$built/testbed" build --what grpcurl)"):$PATH
  "$(scripts/tool.sh "$helm")" upgrade --install "$name" "charts/$name" --namespace "$name" --create-namespace \
    --wait --timeout 3m --set-string "image.repository=${image%:*}" --set-string "image.tag=${image##*:}" "$@"
  say 'Port 8080 is forwarded until Ctrl-C.'
  if [[ -n ${TESTBED_NODE_ID:-} ]]; then
    say 'The node has its own network. To enter it from another terminal, start a shell there:'
    printf 'nsenter --target %s --net --mount --pid --wd="$PWD" env KUBECONFIG=%q PATH=%q bash\n' \
      "$TESTBED_NODE_ID" "$KUBECONFIG" "$PATH"
  fi
  trap 'exit 0' INT TERM
  # A port-forward ends with its pod, so it is restarted.
  while true; do
    kubectl port-forward --namespace "$name" "service/$name" 8080:grpc || true
    sleep 1
  done
}

# Runs inside the testbed's node, which sets KUBECONFIG and CONTAINERD_ADDRESS.
on_node() {
  local what=$1
  shift
  import() { ctr --namespace k8s.io images import "$@" >/dev/null; }
  import --digests --base-name "localhost/$name" "$archive"
  if [[ $what == run ]]; then
    install "$local_image" "$KUBECONFIG"
  else
    import --digests --base-name "localhost/$name" target/image/next.tar
    import target/image/podinfo.tar
    exec "$@" --kubeconfig "$KUBECONFIG" --on-node --podinfo localhost/podinfo:1
  fi
}

on_local_node() {
  local next pages=$folder/audit-pages.log log=$folder/audit.log
  check_node "$1"
  next=$(build_images "$1")
  prepare "$1"
  if [[ $1 == run ]]; then exec "$built/testbed" node -- "$0" on-node run; fi
  rm -f "$pages" "$log"
  acceptance+=(--image "$local_image" --next-image "localhost/$name@$next")
  # The server only uses its list rights if lists are not streamed, and every right must be used.
  say 'A node whose API server does not stream lists'
  "$built/testbed" node --audit-log "$pages" --api-server-arg=--feature-gates=WatchList=false -- \
    "$0" on-node test "${acceptance[@]}" --helm "${helm##*,}" --only listing,drift,guard
  say 'A normal node'
  exec "$built/testbed" node --audit-log "$log" -- \
    "$0" on-node test "${acceptance[@]}" --helm "$helm" --audit-log "$pages" --audit-log "$log" --json "$folder/table.json"
}

on_cluster() {
  local what=$1 kubeconfig=$2 wanted='IMAGE=NAME:TAG'
  [[ $what == run ]] || wanted+=' NEXT_IMAGE=NAME@sha256:DIGEST'
  [[ -n ${IMAGE:-} && ($what == run || -n ${NEXT_IMAGE:-}) ]] || fail "set images that the cluster can pull: $wanted"
  prepare "$what"
  if [[ $what == run ]]; then
    install "$IMAGE" "$kubeconfig" ${VALUES:+--values "$VALUES"}
  else
    exec "${acceptance[@]}" --kubeconfig "$kubeconfig" --helm "$helm" --image "$IMAGE" --next-image "$NEXT_IMAGE" \
      --busybox docker.io/library/busybox:1 ${VALUES:+--values "$VALUES"} --json "$folder/table.json"
  fi
}

# docker_archive FILE IMAGE TO: converts an OCI archive to a docker archive.
docker_archive() {
  local work
  work=$(mktemp -d "$folder/work-XXXXXX")
  in_work() { buildah --root "$work/root" --runroot "$work/run" --storage-driver vfs "$@"; }
  in_work pull --quiet "oci-archive:$1" >/dev/null
  rm -f "$3"
  in_work push --quiet "$2" "docker-archive:$3:$2"
  rm -rf "$work"
}

# scripts/test-minikube.sh tests this with a stand-in, because the authors had no minikube.
on_minikube() {
  local what=$1
  command -v minikube >/dev/null || fail 'Choose a cluster:' \
    "  make $what-k8s NODE=local                        a real node on this machine, as root" \
    "  make $what-k8s KUBECONFIG=FILE IMAGE=NAME:TAG …  your own cluster" \
    "  make $what-k8s                                   minikube, which must be installed"
  export KUBECONFIG=$folder/minikube.kubeconfig
  need buildah
  mkdir -p "$folder"
  minikube start
  build_images "$what" >/dev/null
  docker_archive "$archive" "$local_image" "$folder/image.tar"
  minikube image load "$folder/image.tar"
  if [[ $what == test ]]; then
    docker_archive target/image/next.tar "localhost/$name:next" "$folder/next.tar"
    minikube image load "$folder/next.tar"
  fi
  IMAGE=$local_image NEXT_IMAGE=localhost/$name:next on_cluster "$what" "$KUBECONFIG"
}

readonly action=${1:-}
case $action in
  check) check_node test; exit ;;
  test) helm=${HELM:-helm3,helm4} ;;
  run) helm=${HELM:-helm4} ;;
  on-node) shift; helm=${HELM:-helm4}; on_node "$@"; exit ;;
  *) fail 'usage: k8s.sh test|run [--kubeconfig FILE], or k8s.sh check' ;;
esac
readonly helm
[[ $helm =~ ^helm[34]$ || ($action == test && $helm =~ ^helm[34],helm[34]$) ]] ||
  fail "HELM must be helm3, helm4 or, for test, both: $helm"

case ${NODE:-}:${2:-} in
  local:) on_local_node "$action" ;;
  :--kubeconfig) on_cluster "$action" "${3:?}" ;;
  :) on_minikube "$action" ;;
  *) fail 'NODE must be local or unset, and not combined with a kubeconfig' ;;
esac
