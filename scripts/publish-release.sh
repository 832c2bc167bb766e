#!/usr/bin/env bash
# Pushes the image and the chart of a release, and writes its checksums: publish-release.sh REPOSITORY TAG
#
# The image becomes REPOSITORY:VERSION, the chart REPOSITORY/charts/replica-count-manager with its own version. Needs helm,
# crane in target/bin or on PATH, and what earlier jobs have left: image archives in target/image-*/, files of the release in
# target/release-files/, to which the chart, the manifest for krew and SHA256SUMS are added.
#
# Environment: REPOSITORY_URL, where releases are downloaded. USER_NAME and TOKEN for the registry; without TOKEN there is no login. HELM_PUSH_FLAGS, for a registry
# without TLS. In GitHub Actions, names and digests are outputs of the step.
set -euo pipefail
(($# == 2)) || { echo 'usage: publish-release.sh REPOSITORY v1.2.3' >&2; exit 64; }
readonly repository=$1 version=${2#v}
cd "$(dirname "$0")/.."
PATH=$PWD/target/bin:$PATH
readonly files=target/release-files

if [[ -n ${TOKEN:-} ]]; then
  crane auth login "${repository%%/*}" --username "${USER_NAME:?}" --password-stdin <<<"$TOKEN"
  helm registry login "${repository%%/*}" --username "${USER_NAME:?}" --password-stdin <<<"$TOKEN"
fi

# image-index.sh also writes outputs of the step, which other workflows use.
digest=$(GITHUB_OUTPUT='' scripts/image-index.sh target/index target/image-*/*.tar)
scripts/image-push.sh target/index "$repository" "$version" "$digest"

package=$(scripts/package-chart.sh "$files" "$repository")
read -ra flags <<<"${HELM_PUSH_FLAGS:-}"
chart_digest=$(helm push "$package" "oci://$repository/charts" "${flags[@]}" 2>&1 | tee /dev/stderr | sed -n 's/^Digest: //p')
[[ $chart_digest == sha256:* ]] || { echo 'helm has printed no digest' >&2; exit 1; }

rm -f "$files/SHA256SUMS"
scripts/krew-manifest.sh "$version" "${REPOSITORY_URL:?}" "$files" >"$files.krew"
mv "$files.krew" "$files/replicas.yaml"
(cd "$files" && sha256sum -- *) >"$files.sums"
mv "$files.sums" "$files/SHA256SUMS"

cat >>"${GITHUB_OUTPUT:-/dev/null}" <<OUTPUTS
image=$repository
image-digest=$digest
chart=$repository/charts/replica-count-manager
chart-digest=$chart_digest
OUTPUTS
