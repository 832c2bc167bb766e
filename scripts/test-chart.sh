#!/usr/bin/env bash
# Tests the chart on a real control plane without nodes: pod security `restricted` accepts all objects, upgrades keep
# the certificates, the server works with them and with the rights of its role, and uninstalling keeps the volume.
# HELM=helm3 uses Helm 3. Needs `make build` and Go.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly chart=$PWD/charts/replica-count-manager name=replica-count-manager
readonly built=${CARGO_TARGET_DIR:-target}/debug
helm=$(scripts/tool.sh "${HELM:-helm4}")
kubectl=$("$built/testbed" build --what kubectl)
grpcurl=$("$built/testbed" build --what grpcurl)

scratch=$(mktemp -d)
children=()
finish() {
  local status=$?
  # Stops the children before removing their folder.
  for child in "${children[@]}"; do kill -INT "$child" 2>/dev/null && wait "$child" || true; done
  rm -rf "$scratch"
  exit "$status"
}
trap finish EXIT

mkdir "$scratch/bin"
ln -s "$kubectl" "$grpcurl" "$scratch/bin/"
export PATH=$scratch/bin:$PATH
export HELM_CACHE_HOME=$scratch/helm/cache HELM_CONFIG_HOME=$scratch/helm/config HELM_DATA_HOME=$scratch/helm/data

step() { printf '%s\n' "--- $*"; }
fail() { printf '%s\n' "$*" >&2; exit 1; }

# until_true WHAT COMMAND...: waits for a condition, at most a minute.
until_true() {
  local what=$1 deadline=$((SECONDS + 60))
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || fail "timed out after a minute: $what"
    sleep 0.2
  done
}

# A digest of the data of a Secret.
digest() { kubectl get secret --namespace "$name" "$name-$1" -o jsonpath='{.data}' | sha256sum; }
field() { kubectl get "$1" --namespace "$name" "$2" -o jsonpath="$3"; }
# Grows with each change of the pods.
generation() { field deployment "$name" '{.metadata.generation}'; }
upgrade() { "$helm" upgrade --install "$name" "$chart" --namespace "$name" "$@" >"$scratch/notes"; }
same() { [[ $1 == "$2" ]] || fail "$3 changed"; }
other() { [[ $1 != "$2" ]] || fail "$3 did not change"; }

step "start a control plane, and create a namespace that enforces pod security"
"$built/testbed" up >"$scratch/up" 2>"$scratch/up.log" &
children+=($!)
until_true "the control plane is up" grep -q KUBECONFIG "$scratch/up"
KUBECONFIG=$(sed -n 's/^export KUBECONFIG=//p' "$scratch/up")
export KUBECONFIG
kubectl create namespace "$name" >/dev/null
for mode in enforce warn audit; do
  kubectl label namespace "$name" "pod-security.kubernetes.io/$mode=restricted" >/dev/null
done

step "the API server accepts the objects of every file of values"
kubectl create namespace shop >/dev/null
for values in "$chart"/ci/*-values.yaml "$chart/values-eks.yaml"; do
  # Without kinds that are not part of Kubernetes.
  "$helm" template "$name" "$chart" --namespace "$name" --kube-version 1.36.0 --values "$values" \
    --api-versions admissionregistration.k8s.io/v1/MutatingAdmissionPolicy |
    awk 'BEGIN { RS = "\n---\n"; ORS = RS } !/\nkind: (Certificate|Issuer|PodMonitor|PrometheusRule|ServiceMonitor)\n/' >"$scratch/objects.yaml"
  printf '%s: ' "$(basename "$values")"
  kubectl apply --server-side --dry-run=server --filename "$scratch/objects.yaml" | grep -c serverside-applied
done

step "who may do anything in one namespace, and nothing in namespace default, installs beside Argo CD"
kubectl create namespace team >/dev/null
kubectl create rolebinding team --namespace team --clusterrole cluster-admin --user tess >/dev/null
# Helm looks whether the objects without a namespace exist.
kubectl apply --server-side --filename - >/dev/null <<'YAML'
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: team }
rules:
  - apiGroups: [apiextensions.k8s.io, rbac.authorization.k8s.io, admissionregistration.k8s.io]
    resources: ["*"]
    verbs: [get]
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: applications.argoproj.io }
spec:
  group: argoproj.io
  names: { kind: Application, plural: applications }
  scope: Namespaced
  versions:
    - { name: v1alpha1, served: true, storage: true, schema: { openAPIV3Schema: { type: object } } }
YAML
kubectl create clusterrolebinding team --clusterrole team --user tess >/dev/null
kubectl wait --for condition=Established crd/applications.argoproj.io >/dev/null
until_true "the namespace has its ServiceAccount" kubectl get serviceaccount --namespace team default
until_true "the kind is found" kubectl get applications.argoproj.io
# With Helm 3, the versions of the cluster are not those of the templates.
"$helm" template "$name" "$chart" --namespace team --kube-version 1.36.0 --dry-run=server --kube-as-user tess \
  --api-versions argoproj.io/v1alpha1/Application --show-only templates/certificates-helm.yaml >"$scratch/team.yaml"
grep -q 'kind: Secret' "$scratch/team.yaml" || fail 'no certificates were made'
kubectl delete crd applications.argoproj.io >/dev/null

step "install ($("$helm" version --short))"
(cd tools/chart && GOWORK=off go build -o "$scratch/bin/chart" .)
mkdir "$scratch/repository"
"$helm" package --destination "$scratch/repository" "$chart" >/dev/null
coproc chart serve "$scratch/repository"
read -r url <&"${COPROC[0]}"
"$helm" repo index --url "$url" "$scratch/repository"
# The documented command, except for the address.
"$helm" upgrade --install replica-count-manager replica-count-manager \
  --repo "$url" \
  --namespace replica-count-manager \
  --create-namespace >/dev/null
admitted() { kubectl get pods --namespace "$name" -o name -l app.kubernetes.io/component=server | grep pod; }
until_true "the pod is admitted" admitted
"$helm" template "$name" "$chart" --namespace "$name" --kube-version 1.36.0 --show-only templates/tests/check.yaml |
  kubectl create --dry-run=server -f - 2>&1 | tee "$scratch/pod"
! grep -i warning "$scratch/pod" || fail 'the pod of helm test violates pod security'

step "an upgrade keeps the certificates"
ca=$(digest ca) server=$(digest server-tls) client=$(digest client-tls)
upgrade --set config.logLevel=debug
same "$ca" "$(digest ca)" 'the CA'
same "$server" "$(digest server-tls)" "the server's pair"
same "$client" "$(digest client-tls)" "the client's pair"

step "an additional DNS name makes a new server pair with the same CA, and no new pod"
pods=$(generation)
upgrade --set config.logLevel=debug --set 'tls.dnsNames={replicas.example.com}'
same "$ca" "$(digest ca)" 'the CA'
other "$server" "$(digest server-tls)" "the server's pair"
same "$client" "$(digest client-tls)" "the client's pair"
same "$pods" "$(generation)" 'the Deployment'

step "the pair is also renewed in the last third of its lifetime"
server=$(digest server-tls)
soon=$(date -u -d '+121 days' +%FT%TZ)
# As field manager helm, because Helm 4 would report a conflict with any other.
kubectl get secret --namespace "$name" "$name-server-tls" -o yaml | sed "s/not-after: .*/not-after: \"$soon\"/" |
  kubectl apply --server-side --force-conflicts --field-manager helm -f - >/dev/null
same "$soon" "$(field secret "$name-server-tls" '{.metadata.annotations.replicacount\.dev/not-after}')" 'the expiry'
upgrade --set 'tls.dnsNames={replicas.example.com}'
same "$ca" "$(digest ca)" 'the CA'
other "$server" "$(digest server-tls)" "the server's pair"
same "$client" "$(digest client-tls)" "the client's pair"

step "deleting the Secret of the CA makes a new CA and new pairs"
kubectl delete secret --namespace "$name" "$name-ca" >/dev/null
upgrade
other "$client" "$(digest client-tls)" "the client's pair"
until_true "the claim exists" kubectl get persistentvolumeclaim --namespace "$name" "$name"

step "the server works with the chart's certificates and rights"
mkdir "$scratch/pod-files" "$scratch/user"
for file in 'tls\.crt:server.crt' 'tls\.key:server.key' 'ca\.crt:ca.crt'; do
  field secret "$name-server-tls" "{.data.${file%%:*}}" | base64 -d >"$scratch/pod-files/${file##*:}"
done
kubectl config view --raw --minify --flatten >"$scratch/kubeconfig"
token=$(kubectl create token --namespace "$name" "$name")
admin=$(kubectl config view -o jsonpath='{.contexts[0].context.user}')
KUBECONFIG=$scratch/kubeconfig kubectl config unset "users.$admin" >/dev/null
KUBECONFIG=$scratch/kubeconfig kubectl config set-credentials "$admin" --token "$token" >/dev/null
# The settings from the ConfigMap, except ports and paths.
mapfile -t settings < <(field configmap "$name" '{.data}' | tr -d '{}' | sed 's/","/"\n"/g' | sed -n 's/^"\([A-Z_]*\)":"\(.*\)"$/\1=\2/p')
((${#settings[@]} == 23)) || fail "the ConfigMap has ${#settings[@]} settings"
env -i "${settings[@]}" LOG_FORMAT=json "$built/replica-count-manager" --kubeconfig "$scratch/kubeconfig" \
  --grpc-address "[::]:0" --http-address 127.0.0.1:0 --file-path "$scratch/replicas.json" \
  --cert-file "$scratch/pod-files/server.crt" --key-file "$scratch/pod-files/server.key" \
  --ca-cert-file "$scratch/pod-files/ca.crt" 2>"$scratch/server.log" &
children+=($!)
until_true "the server listens" grep -q '"grpc":"' "$scratch/server.log"
port=$(sed -n 's/.*"grpc":"[^"]*:\([0-9]*\)".*/\1/p' "$scratch/server.log" | head -n 1)

step "the metrics are as Prometheus wants them"
http=$(sed -n 's/.*"http":"\([^"]*\)".*/\1/p' "$scratch/server.log" | head -n 1)
# Without a client of HTTP on the machine.
(
  exec 3<>"/dev/tcp/${http%:*}/${http##*:}"
  printf 'GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: text/plain\r\n\r\n' >&3
  sed '1,/^\r$/d' <&3
) >"$scratch/metrics"
grep -q '^replica_count_manager_build_info' "$scratch/metrics" || fail "$(head "$scratch/metrics")"
"$(scripts/tool.sh promtool)" check metrics <"$scratch/metrics"

step "the commands in the notes fetch a certificate that the server trusts"
grep -E '^  (mkdir|\(?umask|kubectl get secret|\(umask)' "$scratch/notes" >"$scratch/lines"
(($(wc -l <"$scratch/lines") == 4)) || fail "expected four lines: $(cat "$scratch/lines")"
(cd "$scratch/user" && bash -euo pipefail "$scratch/lines")
[[ $(stat -c %a "$scratch/user/certificates/client/client.key") == 600 ]] || fail 'other users can read the key'
manager=$(realpath "$built/replica-count-manager")
(cd "$scratch/user" && "$manager" check --address "localhost:$port" --wait 30)
if grep -qs . /proc/net/if_inet6; then
  (cd "$scratch/user" && "$manager" check --address "[::1]:$port" --server-name localhost)
fi
# And the grpcurl call, at this server's port.
sed -n '/^  grpcurl/,/ListDeployments/p' "$scratch/notes" | sed "s/localhost:8080/localhost:$port/" >"$scratch/call"
(cd "$scratch/user" && bash -euo pipefail "$scratch/call")
# The same call, but it would scale the server itself to 0.
sed -e "s/\"Namespace\": \"my-app-namespace\"/\"Namespace\": \"$name\", \"Name\": \"$name\", \"Replicas\": 0/" \
  -e 's/ListDeployments/SetDeployment/' "$scratch/call" >"$scratch/scale-itself"
(cd "$scratch/user" && bash -euo pipefail "$scratch/scale-itself") >"$scratch/refused" 2>&1 && fail 'it scales itself'
grep -q 'the workload that this server runs in' "$scratch/refused" || fail "$(cat "$scratch/refused")"
! grep -q '"level":"\(WARN\|ERROR\)"' "$scratch/server.log" || fail "$(cat "$scratch/server.log")"

step "uninstalling keeps the claim, and a new release with the same name uses it again"
claim=$(field persistentvolumeclaim "$name" '{.metadata.uid}')
"$helm" uninstall "$name" --namespace "$name" >/dev/null
left() { kubectl get "$1" --all-namespaces -o name -l "app.kubernetes.io/instance=$name" 2>/dev/null; }
kinds=$(kubectl api-resources --verbs list,delete -o name | grep -v '^events\|^replicaguards' | paste -sd,)
claim_is_left() { [[ $(left "$kinds") == "persistentvolumeclaim/$name" ]]; }
until_true "only the claim is left" claim_is_left
upgrade
same "$claim" "$(field persistentvolumeclaim "$name" '{.metadata.uid}')" 'the claim'

step "persistence.keep=false removes the claim; config.namespace limits the rights to that namespace"
upgrade --set persistence.keep=false --set config.namespace=shop
may() { kubectl auth can-i --quiet --as "system:serviceaccount:$name:$name" "$@"; }
may list deployments.apps --namespace shop || fail 'it may not list Deployments in its namespace'
may patch deployments.apps --subresource scale --namespace shop || fail 'it may not scale in its namespace'
may create events.events.k8s.io --namespace shop || fail 'it may not write Events in its namespace'
! may list deployments.apps --namespace default || fail 'it may list Deployments elsewhere'
! may patch deployments.apps --namespace shop || fail 'it may patch Deployments'
"$helm" uninstall "$name" --namespace "$name" >/dev/null
# The claim's deletion needs a controller that does not run here.
nothing_is_left() { ! left "$kinds" | grep -v '^persistentvolumeclaim/'; }
until_true "nothing is left" nothing_is_left
[[ -n $(field persistentvolumeclaim "$name" '{.metadata.deletionTimestamp}') ]] || fail 'the claim is not being deleted'
kubectl get namespace "$name" shop -o name

step "namespace.create labels the namespace, which is kept by an uninstall"
kubectl create namespace made >/dev/null
"$helm" install "$name" "$chart" --namespace made --take-ownership --set namespace.create=true >/dev/null
label=$(kubectl get namespace made -o jsonpath='{.metadata.labels.pod-security\.kubernetes\.io/enforce}')
same restricted "$label" 'the label'
"$helm" uninstall "$name" --namespace made >/dev/null
[[ $(kubectl get namespace made -o jsonpath='{.status.phase}') == Active ]] || fail 'the namespace was deleted'

step "the guard refuses another count, and an upgrade with guard.mode=off ends that"
upgrade --set guard.mode=deny
kubectl create deployment web --namespace shop --image pause --replicas 3 >/dev/null
kubectl apply --namespace shop -f - >/dev/null <<YAML
apiVersion: replicacount.dev/v1alpha1
kind: ReplicaGuard
metadata: {name: $name}
spec: {mode: deny, counts: {deployments/web: {replicas: 3, setBy: shop-team}}}
YAML
# A count that comes before the guard is in force is stored, and the same count again would then be left as it is.
scale() { kubectl scale --namespace shop deployment/web --replicas "$((RANDOM % 900 + 5))" 2>&1; }
is_refused() { [[ $(scale) == *'the count of web is kept at 3 (set by shop-team)'* ]]; }
until_true "another count is refused" is_refused
sed -n 's/^  \(kubectl patch replicaguard .*\)/\1/p' "$scratch/notes" | sed 's/NAMESPACE/shop/' >"$scratch/emergency"
bash -euo pipefail "$scratch/emergency" | grep patched
until_true "the command in the notes suspends it" scale
may create replicaguards.replicacount.dev --namespace shop || fail 'the server may not write its guard'
! kubectl auth can-i --quiet --as someone --as-group system:authenticated create replicaguards.replicacount.dev --namespace shop ||
  fail 'everybody may write the guard'
upgrade --set guard.mode=off
# The definition goes after its objects.
is_gone() { ! kubectl get validatingadmissionpolicies,validatingadmissionpolicybindings,crd -o name | grep -q replica; }
until_true "the guard is gone" is_gone
scale >/dev/null
! may create replicaguards.replicacount.dev --namespace shop 2>/dev/null || fail 'its rights are left'

step "counts move to ReplicaCounts as documented, and survive store=file and an uninstall"
"$built/replica-count-manager" crd | kubectl apply --server-side -f - >/dev/null
kubectl wait --for=condition=Established crd/replicacounts.replicacount.dev >/dev/null
echo '[{"name":"web","namespace":"shop","replicas":3}]' >"$scratch/counts.json"
"$built/replica-count-manager" import --file-path "$scratch/counts.json" >/dev/null
upgrade --set guard.mode=off --set store=crd --take-ownership
upgrade --set guard.mode=off --set store=crd
[[ $(kubectl get crd replicacounts.replicacount.dev -o jsonpath='{.metadata.labels.app\.kubernetes\.io/managed-by}') == Helm ]] ||
  fail 'the definition is not part of the release'
count() { kubectl get replicacounts --namespace shop web -o jsonpath='{.spec.replicas}'; }
upgrade --set guard.mode=off
same 3 "$(count)" 'the count after store=file'
upgrade --set guard.mode=off --set store=crd --take-ownership
"$helm" uninstall "$name" --namespace "$name" >/dev/null
same 3 "$(count)" 'the count after an uninstall'

printf '\nThe chart works with %s.\n' "$("$helm" version --short)"
