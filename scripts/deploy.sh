#!/usr/bin/env bash
# Installs or upgrades the chart with an image, by digest; then waits, tests, and rolls back if anything fails.
#
#   deploy.sh REPOSITORY@sha256:...
#
# Uses the cluster that helm and kubectl connect to: in a pod, the one of its ServiceAccount. Environment (defaults):
#   NAMESPACE      must exist (replica-count-manager)
#   VALUES_FILE    a file of chart values (charts/replica-count-manager/values-eks.yaml)
#   VALUES         more values, as YAML text, which override that file
#   CLIENT_SECRET  the Secret with the smoke test's client certificate (replica-count-manager-client-tls)
#   TIMEOUT        how long the upgrade and the rollback may each take (10m)
#
# The release is replica-count-manager. Only one deploy may run at a time. Needs helm (3 or 4), kubectl, jq and grpcurl.
set -euo pipefail
(($# == 1)) || { echo 'usage: deploy.sh REPOSITORY@sha256:...' >&2; exit 64; }
[[ $1 =~ ^[^@]+@sha256:[0-9a-f]{64}$ ]] || { printf 'not REPOSITORY@sha256:...: %s\n' "$1" >&2; exit 64; }
cd "$(dirname "$0")/.."

readonly repository=${1%@*} digest=${1#*@}
readonly release=replica-count-manager namespace=${NAMESPACE:-replica-count-manager}
readonly values_file=${VALUES_FILE:-charts/replica-count-manager/values-eks.yaml} timeout=${TIMEOUT:-10m}
readonly client_secret=${CLIENT_SECRET:-$release-client-tls}

say() { printf '=== %s\n' "$*"; }

# The newest successfully deployed revision; empty if there is none.
deployed() {
  { helm history "$release" --namespace "$namespace" --max 1000 --output json 2>/dev/null || echo '[]'; } |
    jq -r '[.[] | select(.status == "deployed")] | last // {} | .revision // empty'
}

# The newest revision, whatever its status.
newest() {
  { helm history "$release" --namespace "$namespace" --max 1 --output json 2>/dev/null || echo '[]'; } |
    jq -r 'last // {} | .revision // empty'
}

status() {
  { helm status "$release" --namespace "$namespace" --output json 2>/dev/null || echo '{}'; } | jq -r '.info.status // empty'
}

smoke_test() {
  scripts/smoke-test.sh --service "$release" --namespace "$namespace" --client-secret "$client_secret"
}

# Prints diagnostics. Errors are ignored, so they cannot hide the original failure.
explain() {
  local selector="app.kubernetes.io/instance=$release"
  kubectl get deployments,pods,persistentvolumeclaims --namespace "$namespace" --selector "$selector" || true
  kubectl get events --namespace "$namespace" --sort-by lastTimestamp | tail -n 30 || true
  kubectl logs --namespace "$namespace" --selector "$selector" --all-containers --prefix --tail 50 || true
}

roll_back() {
  local to=$1
  if [[ -z $to ]]; then
    say 'There is no earlier revision to roll back to. The failed one is left for inspection.'
    return
  fi
  say "Rolling back to revision $to"
  if helm rollback "$release" "$to" --namespace "$namespace" --wait --timeout "$timeout" && smoke_test; then
    say "Revision $to is back and serves."
  else
    say 'THE ROLLBACK FAILED, TOO: inspect the cluster now.'
    return 1
  fi
}

# A killed deploy leaves a pending release, which helm refuses to upgrade. No other deploy is running, because only one
# may run at a time.
case $(status) in
  pending-install)
    say 'The first installation was interrupted. Inspect it, then remove it: helm uninstall' "$release"
    exit 1
    ;;
  pending-*)
    say 'The previous deploy was interrupted.'
    roll_back "$(deployed)"
    ;;
esac
before=$(deployed)
newest=$(newest)

values=$(mktemp)
trap 'rm -f "$values"' EXIT
printf '%s\n' "${VALUES:-}" >"$values"

say "Deploying $repository@$digest to $namespace/$release (now: revision ${before:-none})"
if helm upgrade "$release" charts/replica-count-manager --install --namespace "$namespace" \
  --values "$values_file" --values "$values" \
  --set-string "image.repository=$repository" --set-string "image.digest=$digest" \
  --history-max 20 --wait --timeout "$timeout" && smoke_test; then
  say "Deployed revision $(deployed)."
  exit 0
fi

say 'The deploy failed.'
if [[ $(newest) == "$newest" ]]; then
  say 'Helm changed nothing.'
  exit 1
fi
explain
roll_back "$before"
exit 1
