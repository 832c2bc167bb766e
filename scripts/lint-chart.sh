#!/usr/bin/env bash
# Checks the chart without a cluster: helm lint, its tests, the schemas of the oldest and the newest supported
# Kubernetes, kube-score, checkov, its alerts, its dashboard, its README, and rendering from a chart repository, as users
# install it.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly chart=charts/replica-count-manager name=replica-count-manager minors=(1.33 1.36)
readonly install=(--namespace "$name" --kube-version "${minors[0]}")

helm=$(scripts/tool.sh helm4)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# Isolates Helm from the user's own configuration.
export HELM_CACHE_HOME=$scratch/helm/cache HELM_CONFIG_HOME=$scratch/helm/config HELM_DATA_HOME=$scratch/helm/data

# Files of values that cover the options of the chart. scripts/test-chart.sh has an API server look at them, too.
values_files=("$chart"/ci/*-values.yaml "$chart/values-eks.yaml")

echo '--- helm lint'
for values in "${values_files[@]}"; do
  "$helm" lint --strict --quiet --kube-version "${minors[0]}" --values "$values" "$chart"
done

echo '--- tests of the templates'
"$(scripts/tool.sh helm-unittest)" --strict "$chart"

echo '--- kubeconform'
conform=$(scripts/tool.sh kubeconform)
(cd tools/chart && GOWORK=off go build -o "$scratch/chart" .)
for minor in "${minors[@]}"; do
  sources=$(cd "cluster/$minor" && GOWORK=off GOFLAGS=-mod=readonly go mod download -json k8s.io/kubernetes |
    sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
  "$scratch/chart" schemas "$sources/api/openapi-spec/swagger.json" "$scratch/schemas/$minor"
  for values in "${values_files[@]}"; do
    # The chart itself must know that 1.33 has no such policy.
    "$helm" template "$name" "$chart" --namespace "$name" --kube-version "$minor" --values "$values" \
      --api-versions admissionregistration.k8s.io/v1/MutatingAdmissionPolicy >"$scratch/objects.yaml"
    # Skips kinds that are not part of Kubernetes; the template tests cover them.
    printf '%s, %s: ' "$minor" "$(basename "$values" .yaml)"
    "$conform" -strict -summary -skip Certificate,Issuer,PodMonitor,PrometheusRule,ServiceMonitor \
      -schema-location "$scratch/schemas/$minor/{{.ResourceKind}}{{.KindSuffix}}.json" "$scratch/objects.yaml"
  done
done

echo '--- kube-score'
# Ignored findings, with reasons:
#   CPU limit              would throttle repairs just when there are many
#   always pull            images have a version or digest, and may be loaded into nodes without a registry
#   strategy, replicas     the file store supports only one server at a time
#   policy for the test    the pod lives for seconds and accepts no connections
score=("$(scripts/tool.sh kube-score)" score --exit-one-on-warning --kubernetes-version "v${minors[0]}" --output-format ci
  --ignore-container-cpu-limit --ignore-test container-image-pull-policy)
"$helm" template "$name" "$chart" "${install[@]}" --skip-tests >"$scratch/server.yaml"
"$helm" template "$name" "$chart" "${install[@]}" --show-only templates/tests/check.yaml >"$scratch/test.yaml"
"${score[@]}" --ignore-test deployment-strategy,deployment-replicas "$scratch/server.yaml" | grep -v '^\[\(OK\|SKIPPED\)\]' || [[ ${PIPESTATUS[0]} == 0 ]]
"${score[@]}" --ignore-test pod-networkpolicy "$scratch/test.yaml" | grep -v '^\[\(OK\|SKIPPED\)\]' || [[ ${PIPESTATUS[0]} == 0 ]]

echo '--- checkov'
# The same reasons, and:
#   CKV_K8S_11, 15, 43     no CPU limit, no forced pull, a version tag unless a digest is set
#   CKV_K8S_38             the server needs its token to call the API server
#   CKV_K8S_8, 9           (test pod) a short-lived pod has no probes
#   CKV2_K8S_6             (test pod) see above
if checkov=$(scripts/tool.sh checkov); then
  policy=("$checkov" --framework kubernetes --compact --quiet --skip-download)
  "${policy[@]}" --skip-check CKV_K8S_11,CKV_K8S_15,CKV_K8S_43,CKV_K8S_38 --file "$scratch/server.yaml"
  "${policy[@]}" --skip-check CKV_K8S_11,CKV_K8S_15,CKV_K8S_43,CKV_K8S_8,CKV_K8S_9,CKV2_K8S_6 --file "$scratch/test.yaml"
else
  printf '\n%s\n' '*** checkov cannot be installed: ITS POLICIES ARE NOT CHECKED in this run. ***' >&2
fi

echo '--- alerts'
promtool=$(scripts/tool.sh promtool)
"$promtool" check rules --lint all --lint-fatal "$chart/files/monitoring/alerts.yaml"
"$promtool" test rules "$chart/tests/alerts.yaml"
# Each alert is tested.
alerts() { sed -n 's/^ *- alert: //p' "$chart/files/monitoring/alerts.yaml"; }
for alert in $(alerts); do
  grep -q "alertname=\"$alert\"\|alertname: $alert\$" "$chart/tests/alerts.yaml" || {
    echo "no test lets $alert fire" >&2
    exit 1
  }
done

echo '--- README and dashboard are up to date'
scripts/chart-docs.sh
scripts/dashboard.py >"$chart/files/monitoring/dashboard.json"
git diff --exit-code -- "$chart/README.md" "$chart/files/monitoring"
# The queries of the dashboard, with a window in place of Grafana's variable.
jq -r '.. | .expr? // empty' "$chart/files/monitoring/dashboard.json" | sed 's/\$__rate_interval/5m/' >"$scratch/queries"
while IFS= read -r query; do
  "$promtool" --experimental promql format "$query" >/dev/null
done <"$scratch/queries"
printf '%d queries can be parsed\n' "$(wc -l <"$scratch/queries")"

echo '--- from a chart repository'
mkdir "$scratch/repository"
"$helm" package --destination "$scratch/repository" "$chart" >/dev/null
coproc "$scratch/chart" serve "$scratch/repository"
read -r url <&"${COPROC[0]}"
"$helm" repo index --url "$url" "$scratch/repository"
# The documented command, but without a cluster.
"$helm" template "$name" "$name" --repo "$url" "${install[@]}" --show-only templates/service.yaml | grep '^  name: "replica-count-manager"$'
"$helm" show readme "$name" --repo "$url" | head -n 1
if tar -tf "$scratch"/repository/*.tgz | grep '^[^/]*/\(tests\|ci\)/'; then
  echo 'the package contains what only tests need' >&2
  exit 1
fi
