#!/usr/bin/env bash
# Packages the chart as a release has it: package-chart.sh FOLDER IMAGE
#
# IMAGE is the repository of the published image, which becomes the default of `image.repository`. Prints the path of the
# package.
set -euo pipefail
(($# == 2)) || { echo 'usage: package-chart.sh FOLDER IMAGE' >&2; exit 64; }
folder=$(realpath --canonicalize-missing "$1")
readonly folder image=$2
cd "$(dirname "$0")/.."
readonly chart=charts/replica-count-manager

helm=$(command -v helm) || helm=$(scripts/tool.sh helm4)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r "$chart" "$work/"
values=$work/replica-count-manager/values.yaml
sed -i "s|^  repository: replica-count-manager\$|  repository: $image|" "$values"
grep -qx "  repository: $image" "$values" || { echo "$values has no image.repository to replace" >&2; exit 1; }
"$helm" lint --strict --quiet "$work/replica-count-manager" >&2
"$helm" package --destination "$folder" "$work/replica-count-manager" >/dev/null
ls "$folder"/replica-count-manager-*.tgz
