#!/usr/bin/env bash
# Publishes a release as the workflow for tags does, to a real OCI registry and a Helm repository, both on loopback, and
# installs the chart from them with both versions of Helm, as far as that goes without a cluster. The images are empty. krew
# installs the command line, of which there is only a script.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly name=replica-count-manager
version=$(sed -n 's/^version: //p' "charts/$name/Chart.yaml")
registry=$(scripts/tool.sh registry)
scratch=$(mktemp -d)
children=()
finish() {
  local status=$?
  for child in "${children[@]}"; do kill "$child" 2>/dev/null || true; done
  rm -rf "$scratch"
  exit "$status"
}
trap finish EXIT
export HELM_CACHE_HOME=$scratch/helm/cache HELM_CONFIG_HOME=$scratch/helm/config HELM_DATA_HOME=$scratch/helm/data
fail() { printf '%s\n' "$*" >&2; exit 1; }

# A free port: the registry cannot choose one itself and tell.
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$scratch/registry.yaml" <<YAML
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: $scratch/registry}}
http: {addr: "127.0.0.1:$port"}
YAML
"$registry" serve "$scratch/registry.yaml" >"$scratch/registry.log" 2>&1 &
children+=($!)
for _ in {1..100}; do
  ! curl --fail --silent "http://127.0.0.1:$port/v2/" >/dev/null || break
  sleep 0.1
done

step() { printf -- '--- %s\n' "$*"; }

# image ARCHITECTURE: an archive of an image without files, as earlier jobs of the workflow leave one.
image() {
  local layout=$scratch/layout-$1 config manifest
  put() {
    local digest
    digest=$(sha256sum "$1" | cut -d' ' -f1)
    mkdir -p "$layout/blobs/sha256"
    cp "$1" "$layout/blobs/sha256/$digest"
    printf '{"mediaType":"%s","digest":"sha256:%s","size":%d}' "$2" "$digest" "$(stat -c %s "$1")"
  }
  printf '{"architecture":"%s","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}' "$1" >"$scratch/config"
  config=$(put "$scratch/config" application/vnd.oci.image.config.v1+json)
  printf '{"schemaVersion":2,"config":%s,"layers":[]}' "$config" >"$scratch/manifest"
  manifest=$(put "$scratch/manifest" application/vnd.oci.image.manifest.v1+json)
  printf '{"schemaVersion":2,"manifests":[%s]}' "$manifest" >"$layout/index.json"
  printf '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"
  mkdir -p "$work/target/image-$1"
  tar -cf "$work/target/image-$1/image.tar" -C "$layout" .
}

step 'publish, as the workflow does'
# A copy, so that nothing is left in target/.
work=$scratch/work
mkdir -p "$work/target/bin" "$work/target/release-files"
cp -r --parents "charts/$name" scripts "$work/"
(cd deploy/tools && GOWORK=off GOFLAGS=-mod=readonly go build -o "$work/target/bin/" github.com/google/go-containerregistry/cmd/crane)
ln -s "$(scripts/tool.sh helm4)" "$work/target/bin/helm"
image amd64
image arm64
for architecture in amd64 arm64; do
  mkdir "$scratch/$architecture"
  printf '#!/bin/sh\necho "for %s: $*"\n' "$architecture" >"$scratch/$architecture/kubectl-replicas"
  chmod +x "$scratch/$architecture/kubectl-replicas"
  cp LICENSE "$scratch/$architecture/"
  tar -czf "$work/target/release-files/kubectl-replicas-linux-$architecture.tar.gz" -C "$scratch/$architecture" .
done
export REPOSITORY_URL=https://github.com/someone/$name
HELM_PUSH_FLAGS=--plain-http GITHUB_OUTPUT=$scratch/outputs "$work/scripts/publish-release.sh" "127.0.0.1:$port/someone/$name" v1.2.3
cat "$scratch/outputs"
(($(grep -c '=sha256:' "$scratch/outputs") == 2)) || fail 'the step has no outputs'
(cd "$work/target/release-files" && sha256sum --check --strict SHA256SUMS)
readonly image=127.0.0.1:$port/someone/$name
package=$work/target/release-files/$name-$version.tgz
platforms=$("$work/target/bin/crane" manifest "$image:1.2.3" | jq -r '.manifests[].platform.architecture' | paste -sd' ')
[[ $platforms == 'amd64 arm64' ]] || fail "the image is for: $platforms"

step 'install with krew'
krew=$(scripts/tool.sh krew)
manifest=$work/target/release-files/replicas.yaml
for architecture in amd64 arm64; do
  file=kubectl-replicas-linux-$architecture.tar.gz
  grep -qF "uri: $REPOSITORY_URL/releases/download/v1.2.3/$file" "$manifest" || fail "krew would not find $file"
  # It compares the archive with the checksum of the manifest, and chooses the archive by KREW_ARCH.
  export KREW_ROOT=$scratch/krew-$architecture KREW_OS=linux KREW_ARCH=$architecture
  "$krew" install --manifest "$manifest" --archive "$work/target/release-files/$file" >/dev/null 2>"$scratch/krew.log" ||
    fail "$(cat "$scratch/krew.log")"
  [[ $("$KREW_ROOT/bin/kubectl-replicas" get) == "for $architecture: get" ]] || fail 'krew has installed another program'
  echo "$architecture: installed"
done

(cd tools/chart && GOWORK=off go build -o "$scratch/chart" .)
mkdir "$scratch/pages"
coproc "$scratch/chart" serve "$scratch/pages"
children+=("$!")
read -r url <&"${COPROC[0]}"
scripts/chart-repository.sh "$scratch/pages" "$url" "$package"

for tool in helm4 helm3; do
  helm=$(scripts/tool.sh "$tool")
  step "install with $("$helm" version --short)"
  render() { "$helm" template "$name" "$@" --namespace "$name" --kube-version 1.36.0 --show-only templates/deployment.yaml; }
  for source in "oci" "repo"; do
    case $source in
      oci) render "oci://$image/charts/$name" --plain-http 2>/dev/null ;;
      repo) render "$name" --repo "$url" ;;
    esac >"$scratch/$source.yaml"
    grep -q "image: \"$image:" "$scratch/$source.yaml" || fail "the chart from $source does not name the published image"
    printf '%s: version %s, with its image\n' "$source" "$version"
  done
  cmp <(grep -v checksum "$scratch/oci.yaml") <(grep -v checksum "$scratch/repo.yaml")
done
