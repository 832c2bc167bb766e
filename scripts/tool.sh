#!/usr/bin/env bash
# scripts/tool.sh NAME: prints the path of a tool for checking the chart, the documents, traces or a release. It is built from source
# once and kept in the user's cache. Go's checksum database verifies the sources. helm-unittest has its own module, because
# it needs a replaced dependency; so have podinfo, a third-party server with a chart, because it has no Go module versions,
# otelcol, because a collector is made of parts, and vale and registry (of OCI artifacts), whose many dependencies are
# pinned in this way. checkov is written in Python and has its own virtual environment. mdbook is written in Rust.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

case ${1:-} in
  helm3) package=helm.sh/helm/v3/cmd/helm version=v3.22.0 ;;
  helm4) package=helm.sh/helm/v4/cmd/helm version=v4.3.1 ;;
  helm-docs) package=github.com/norwoodj/helm-docs/cmd/helm-docs version=v1.14.2 ;;
  kubeconform) package=github.com/yannh/kubeconform/cmd/kubeconform version=v0.8.0 ;;
  krew) package=sigs.k8s.io/krew/cmd/krew version=v0.5.0 ;;
  kube-score) package=github.com/zegl/kube-score/cmd/kube-score version=v1.20.0 ;;
  # Without what finds its targets, which takes most of the build and is used by no check.
  promtool) package=github.com/prometheus/prometheus/cmd/promtool version=v0.316.0 tags=remove_all_sd ;;
  checkov) package='' version=3.3.30 ;;
  mdbook) package='' version=0.5.4 ;;
  helm-unittest)
    package=github.com/helm-unittest/helm-unittest/cmd/helm-unittest
    version=$(cat "$root"/tools/helm-unittest/go.{mod,sum} | sha256sum | cut -c 1-16)
    ;;
  registry)
    package=github.com/distribution/distribution/v3/cmd/registry
    version=$(cat "$root"/tools/registry/go.{mod,sum} | sha256sum | cut -c 1-16)
    ;;
  vale)
    package=github.com/vale-cli/vale/v3/cmd/vale
    version=$(cat "$root"/tools/vale/go.{mod,sum} | sha256sum | cut -c 1-16)
    ;;
  otelcol)
    package=replicacount.dev/tools/otelcol
    version=$(cat "$root"/tools/otelcol/{go.mod,go.sum,main.go} | sha256sum | cut -c 1-16)
    ;;
  podcli | podinfo)
    package=github.com/stefanprodan/podinfo/cmd/$1
    version=$(cat "$root"/tools/podinfo/go.{mod,sum} | sha256sum | cut -c 1-16)
    ;;
  *)
    echo "usage: ${0##*/} checkov|helm3|helm4|helm-docs|helm-unittest|krew|kubeconform|kube-score|mdbook|otelcol|podcli|podinfo|promtool|registry|vale" >&2
    exit 64
    ;;
esac

readonly name=$1 package version module=$root/tools/${1/podcli/podinfo}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/replica-count-manager/tools/$name-$version-$(uname -sm | tr ' ' -)
case $name in checkov | mdbook) binary=$cache/bin/$name ;; *) binary=$cache/$name ;; esac

# An interrupted installation has no file with this name.
if [[ $name == checkov ]] && [[ ! -e $cache/complete ]]; then
  python3 -c 'import venv, ensurepip' 2>/dev/null || { echo 'checkov needs python3 with venv' >&2; exit 1; }
  echo "installing $name (once; kept in $cache)" >&2
  rm -rf "$cache"
  python3 -m venv "$cache"
  "$cache/bin/pip" install --quiet --disable-pip-version-check "checkov==$version" >&2
  touch "$cache/complete"
fi

if [[ $name == mdbook ]] && [[ ! -x $binary ]]; then
  echo "building $name (once, minutes; kept in $cache)" >&2
  # Without its server and its watch, which have most of the dependencies.
  cargo install --quiet --locked --no-default-features --features search --root "$cache" --version "$version" mdbook >&2
fi

if [[ ! -x $binary ]]; then
  command -v go >/dev/null || { echo "$name has to be built, but there is no go: see https://go.dev/dl" >&2; exit 1; }
  echo "building $name (once; kept in $cache)" >&2
  mkdir -p "$cache"
  unfinished=$(mktemp -d "$cache/unfinished-XXXXXX")
  trap 'rm -rf "$unfinished"' EXIT
  # Static, because podinfo runs in an empty image. vale has parsers that are written in C.
  export GOWORK=off GOFLAGS='' CGO_ENABLED=0 GOBIN=$unfinished
  [[ $name != vale ]] || CGO_ENABLED=1
  if [[ -f $module/go.mod ]]; then
    (cd "$module" && go install -mod=readonly -trimpath -ldflags '-s -w' "$package")
  else
    (cd / && go install -trimpath -ldflags '-s -w' -tags "${tags:-}" "$package@$version")
  fi
  # By rename, so an interrupted build leaves no file that looks finished.
  mv "$unfinished/$(basename "$package")" "$binary"
fi
echo "$binary"
