#!/usr/bin/env bash
# Calls a running server over mutual TLS, like a client, without changing anything.
#
#   smoke-test.sh                        the server at ADDRESS (localhost:8080), with the files in CERTIFICATES
#                                        (certificates/), as created by `make run`
#   smoke-test.sh --service NAME --namespace NAMESPACE --client-secret SECRET
#                                        a Service of kubectl's cluster, through a port-forward, with the client
#                                        certificate in a Secret (tls.crt, tls.key, ca.crt)
#
# SERVER_NAME: the name in the server's certificate, if it is not the host of the address. WAIT_S: how many seconds the
# server may take until it serves (60). Needs grpcurl, and kubectl for --service.
set -euo pipefail
cd "$(dirname "$0")/.."

service='' namespace='' secret=''
while (($#)); do
  case $1 in
    --service) service=${2:?} ;;
    --namespace) namespace=${2:?} ;;
    --client-secret) secret=${2:?} ;;
    *) printf 'unknown argument: %s\n' "$1" >&2; exit 64 ;;
  esac
  shift 2
done

work=$(mktemp -d)
forward=''
finish() {
  [[ -z $forward ]] || kill "$forward" 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT

address=${ADDRESS:-localhost:8080}
certificates=${CERTIFICATES:-certificates}
ca=$certificates/ca/ca.crt cert=$certificates/client/client.crt key=$certificates/client/client.key

if [[ -n $service ]]; then
  : "${namespace:?--service needs --namespace}" "${secret:?--service needs --client-secret}"
  (
    umask 077
    kubectl get secret "$secret" --namespace "$namespace" --output json >"$work/secret.json"
    for file in ca.crt tls.crt tls.key; do
      jq -er --arg file "$file" '.data[$file] // error("the Secret has no \($file)") | @base64d' "$work/secret.json" \
        >"$work/$file"
    done
  )
  ca=$work/ca.crt cert=$work/tls.crt key=$work/tls.key

  # Any free local port; kubectl prints which one. The file must exist before kubectl starts.
  : >"$work/forward"
  kubectl port-forward --namespace "$namespace" "service/$service" :grpc >"$work/forward" 2>&1 &
  forward=$!
  for ((i = 0; i < 300; i++)); do
    port=$(sed -n 's/^Forwarding from 127\.0\.0\.1:\([0-9]*\) .*/\1/p' "$work/forward")
    [[ -z $port ]] || break
    kill -0 "$forward" 2>/dev/null || break
    sleep 0.1
  done
  [[ -n $port ]] || { printf 'no port-forward to service/%s:\n' "$service" >&2; cat "$work/forward" >&2; exit 1; }
  address=localhost:$port
fi

# Every call verifies the server's certificate.
tls=(-cacert "$ca" -connect-timeout 5 -max-time 10)
[[ -z ${SERVER_NAME:-} ]] || tls+=(-servername "$SERVER_NAME")
call() { grpcurl "${tls[@]}" -cert "$cert" -key "$key" "$@"; }

deadline=$((SECONDS + ${WAIT_S:-60}))
until call "$address" grpc.health.v1.Health/Check >"$work/answer" 2>&1 && grep -q '"SERVING"' "$work/answer"; do
  if ((SECONDS >= deadline)); then
    printf 'FAILED  %s does not serve:\n' "$address" >&2
    cat "$work/answer" >&2
    exit 1
  fi
  sleep 1
done
echo 'ok      the server reports that it serves'

call -proto proto/deployments.proto -d '{"PageSize": 1}' "$address" proto.DeploymentsService.ListDeployments \
  >"$work/answer" 2>&1 || { echo 'FAILED  ListDeployments:' >&2; cat "$work/answer" >&2; exit 1; }
echo 'ok      ListDeployments answers a client with a certificate'

if grpcurl "${tls[@]}" "$address" grpc.health.v1.Health/Check >"$work/answer" 2>&1; then
  echo 'FAILED  a client without a certificate got an answer' >&2
  exit 1
fi
grep -qE 'certificate required|bad certificate|handshake failure' "$work/answer" ||
  { echo 'FAILED  a client without a certificate was refused for another reason:' >&2; cat "$work/answer" >&2; exit 1; }
echo 'ok      a client without a certificate is refused'
