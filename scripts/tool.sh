#!/usr/bin/env bash
# scripts/tool.sh NAME: prints the path of a tool for checking the chart and traces. It is built from source once and kept
# in the user's cache. Go's checksum database verifies the sources. helm-unittest has its own module, because it needs a
# replaced dependency. So have podinfo, a third-party server with a chart, because it has no Go module versions, and
# otelcol, because a collector is made of parts. checkov is written in Python and has its own virtual environment.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

case ${1:-} in
  helm3) package=helm.sh/helm/v3/cmd/helm version=v3.22.0 ;;
  helm4) package=helm.sh/helm/v4/cmd/helm version=v4.3.1 ;;
  helm-docs) package=github.com/norwoodj/helm-docs/cmd/helm-docs version=v1.14.2 ;;
  kubeconform) package=github.com/yannh/kubeconform/cmd/kubeconform version=v0.8.0 ;;
  kube-score) package=github.com/zegl/kube-score/cmd/kube-score version=v1.20.0 ;;
  # Without what finds its targets, which takes most of the build and is used by no check.
  promtool) package=github.com/prometheus/prometheus/cmd/promtool version=v0.316.0 tags=remove_all_sd ;;
  checkov) package='' version=3.3.30 ;;
  helm-unittest)
    package=github.com/helm-unittest/helm-unittest/cmd/helm-unittest
    version=$(cat "$root"/tools/helm-unittest/go.{mod,sum} | sha256sum | cut -c 1-16)
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
    echo "usage: ${0##*/} checkov|helm3|helm4|helm-docs|helm-unittest|kubeconform|kube-score|otelcol|podcli|podinfo|promtool" >&2
    exit 64
    ;;
esac

readonly name=$1 package version module=$root/tools/${1/podcli/podinfo}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/replica-count-manager/tools/$name-$version-$(uname -sm | tr ' ' -)
if [[ $name == checkov ]]; then binary=$cache/bin/$name; else binary=$cache/$name; fi

# An interrupted installation has no file with this name.
if [[ $name == checkov ]] && [[ ! -e $cache/complete ]]; then
  python3 -c 'import venv, ensurepip' 2>/dev/null || { echo 'checkov needs python3 with venv' >&2; exit 1; }
  echo "installing $name (once; kept in $cache)" >&2
  rm -rf "$cache"
  python3 -m venv "$cache"
  "$cache/bin/pip" install --quiet --disable-pip-version-check "checkov==$version" >&2
  touch "$cache/complete"
fi

if [[ ! -x $binary ]]; then
  command -v go >/dev/null || { echo "$name has to be built, but there is no go: see https://go.dev/dl" >&2; exit 1; }
  echo "building $name (once; kept in $cache)" >&2
  mkdir -p "$cache"
  unfinished=$(mktemp -d "$cache/unfinished-XXXXXX")
  trap 'rm -rf "$unfinished"' EXIT
  # Static, because podinfo runs in an empty image.
  export GOWORK=off GOFLAGS='' CGO_ENABLED=0 GOBIN=$unfinished
  if [[ -f $module/go.mod ]]; then
    (cd "$module" && go install -mod=readonly -trimpath -ldflags '-s -w' "$package")
  else
    (cd / && go install -trimpath -ldflags '-s -w' -tags "${tags:-}" "$package@$version")
  fi
  # By rename, so an interrupted build leaves no file that looks finished.
  mv "$unfinished/$(basename "$package")" "$binary"
fi
echo "$binary"
