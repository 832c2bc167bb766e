#!/usr/bin/env bash
# Checks the chart without a cluster: helm lint, its tests, the schemas of the oldest and the newest supported
# Kubernetes, kube-score, checkov, its README, and rendering from a chart repository, as users install it.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly chart=charts/replica-count-manager name=replica-count-manager minors=(1.33 1.36)
readonly install=(--namespace "$name" --kube-version "${minors[0]}")

helm=$(scripts/tool.sh helm4)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# Isolates Helm from the user's own configuration.
export HELM_CACHE_HOME=$scratch/helm/cache HELM_CONFIG_HOME=$scratch/helm/config HELM_DATA_HOME=$scratch/helm/data

# Files of values that cover the options of the chart, besides the defaults.
mkdir "$scratch/values"
touch "$scratch/values/defaults.yaml"
cp "$chart/values-eks.yaml" "$scratch/values/eks.yaml"
cat >"$scratch/values/everything.yaml" <<'YAML'
commonLabels: {team: a}
commonAnnotations: {note: b}
config: {namespace: shop, enforcement: ignore, listenAddress: 0.0.0.0}
guard: {mode: deny, how: ask the shop team}
authorization: {mode: rbac}
imagePullSecrets: [{name: registry}]
image: {digest: "sha256:0000000000000000000000000000000000000000000000000000000000000000"}
namespace: {create: true}
notifications:
  secret: hooks
  config:
    window: 10s
    links: [{text: a, url: "https://a/{name}"}]
    receivers: [{name: chat, slack: {urlFile: url}}, {name: audit, webhook: {url: "https://a:8443", signingKeyFile: key}}]
    routes: [{name: all, receiver: chat, namespaces: [shop], kinds: [deployments], events: [set], severity: info}]
metrics: {serviceMonitor: {enabled: true}}
networkPolicy:
  grpc: {from: [{namespaceSelector: {}}]}
  http: {from: [{ipBlock: {cidr: 192.0.2.0/24}}]}
  apiServer: {to: [{ipBlock: {cidr: 192.0.2.1/32}}]}
service:
  type: LoadBalancer
  loadBalancerClass: c
  loadBalancerSourceRanges: [192.0.2.0/24]
  ipFamilyPolicy: PreferDualStack
  ipFamilies: [IPv6, IPv4]
nodeSelector: {disk: fast}
tolerations: [{operator: Exists}]
topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway}]
priorityClassName: high
schedulerName: other
runtimeClassName: other
dnsPolicy: Default
dnsConfig: {options: [{name: ndots, value: "1"}]}
extraArgs: [--log-level=debug]
extraEnv: [{name: A, value: b}]
extraEnvFrom: [{secretRef: {name: more}}]
extraVolumes: [{name: v, emptyDir: {}}]
extraVolumeMounts: [{name: v, mountPath: /v}]
initContainers: [{name: i, image: i}]
extraContainers: [{name: c, image: c}]
extraObjects: [{apiVersion: v1, kind: ConfigMap, metadata: {name: "{{ .Release.Name }}-x"}}]
YAML
echo 'tls: {source: existingSecret, existingSecret: {server: s, client: c}, clientCA: {secret: a}}' >"$scratch/values/secrets.yaml"
echo '{store: crd, config: {namespace: shop}}' >"$scratch/values/crd.yaml"
echo '{persistence: {enabled: false}, rbac: {create: false}, serviceAccount: {create: false}, replicas: 0}' \
  >"$scratch/values/little.yaml"

echo '--- helm lint'
for values in "$scratch"/values/*.yaml; do
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
  for values in "$scratch"/values/*.yaml; do
    # The chart itself must know that 1.33 has no such policy.
    "$helm" template "$name" "$chart" --namespace "$name" --kube-version "$minor" --values "$values" \
      --api-versions admissionregistration.k8s.io/v1/MutatingAdmissionPolicy >"$scratch/objects.yaml"
    # Skips kinds that are not part of Kubernetes; the template tests cover them.
    printf '%s, %s: ' "$minor" "$(basename "$values" .yaml)"
    "$conform" -strict -summary -skip Certificate,Issuer,ServiceMonitor \
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

echo '--- README is up to date'
scripts/chart-docs.sh
git diff --exit-code -- "$chart/README.md"

echo '--- from a chart repository'
mkdir "$scratch/repository"
"$helm" package --destination "$scratch/repository" "$chart" >/dev/null
coproc "$scratch/chart" serve "$scratch/repository"
read -r url <&"${COPROC[0]}"
"$helm" repo index --url "$url" "$scratch/repository"
# The documented command, but without a cluster.
"$helm" template "$name" "$name" --repo "$url" "${install[@]}" --show-only templates/service.yaml | grep '^  name: "replica-count-manager"$'
"$helm" show readme "$name" --repo "$url" | head -n 1
if tar -tf "$scratch"/repository/*.tgz | grep '^[^/]*/tests/'; then
  echo 'the package contains tests' >&2
  exit 1
fi
