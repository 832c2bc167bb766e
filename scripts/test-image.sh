#!/usr/bin/env bash
# Runs the image of `make image` as a strict cluster would, against a real control plane: read-only root, no
# capabilities, no new privileges, a seccomp profile, and users that the image does not know. For each of them it makes
# certificates, with the kubectl-replicas of this machine, starts the server, which finds the API server by another kind
# of name, is found by that name itself, and has it repair a drift.
#
# Everything happens in a network namespace of its own that has nothing but loopback. Needs root, or sudo without a
# password, runc, jq, Python 3, iproute2 and `make build`. The seccomp profile came with buildah.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly built=${CARGO_TARGET_DIR:-target}/debug
if [[ -z ${OWN_NETWORK:-} ]]; then
  # All programs that are needed: there is no network later.
  "$built/testbed" build >/dev/null
  root=()
  ((EUID == 0)) || root=(sudo -n)
  exec "${root[@]}" env OWN_NETWORK=yes "HOME=$HOME" "PATH=$PATH" "XDG_CACHE_HOME=${XDG_CACHE_HOME:-}" \
    "CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-}" unshare --net -- "$0"
fi
ip link set lo up

case $(uname -m) in
  x86_64) arch=amd64 ;;
  aarch64) arch=arm64 ;;
esac
readonly archive=target/image/replica-count-manager-$arch.tar
readonly profile=/usr/share/containers/seccomp.json

scratch=$(mktemp -d)
children=()
# The names of containers are known to the whole machine.
readonly mark=${scratch##*.}
containers() { runc --root "$scratch/runc" "$@"; }
finish() {
  local status=$?
  # Each by its id, and only then the folder they work in.
  for container in $(containers list --quiet 2>/dev/null); do containers delete --force "$container" || true; done
  for child in "${children[@]}"; do kill -TERM "$child" 2>/dev/null && wait "$child" || true; done
  ((status == 0)) || tail -n 20 "$scratch"/*.log >&2
  rm -rf "$scratch"
  exit "$status"
}
trap finish EXIT
chmod 755 "$scratch"

step() { printf '%s\n' "--- $*"; }
fail() { printf '%s\n' "$*" >&2; exit 1; }

# until_true WHAT COMMAND...: awaits a condition, for a minute.
until_true() {
  local what=$1 deadline=$((SECONDS + 60))
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || fail "not within a minute: $what"
    sleep 0.2
  done
}

step "a control plane, a nameserver, and the image as a bundle"
kubectl=$("$built/testbed" build --what kubectl) grpcurl=$("$built/testbed" build --what grpcurl)
"$built/testbed" up >"$scratch/up" 2>"$scratch/up.log" &
children+=($!)
# Far from the addresses that others use.
scripts/nameserver.py 127.0.0.53 by-nameserver.test 127.0.0.1 >"$scratch/nameserver" 2>"$scratch/nameserver.log" &
children+=($!)
mkdir "$scratch/image" "$scratch/bundle" "$scratch/bundle/rootfs" "$scratch/etc"
tar -xf "$archive" -C "$scratch/image"
blob() { printf '%s/image/blobs/sha256/%s\n' "$scratch" "${1#sha256:}"; }
manifest=$(blob "$(jq -er '.manifests[0].digest' "$scratch/image/index.json")")
for layer in $(jq -r '.layers[].digest' "$manifest"); do
  tar -xf "$(blob "$layer")" -C "$scratch/bundle/rootfs"
done
config=$(blob "$(jq -er .config.digest "$manifest")")
own_user=$(jq -r '.config.User | split(":")[0]' "$config")
printf '127.0.0.1 localhost\n127.0.0.1 by-hosts.test\n' >"$scratch/etc/hosts"
printf 'nameserver 127.0.0.53\n' >"$scratch/etc/resolv.conf"

# What the profile says to a program without capabilities on this machine.
seccomp='Seccomp: 2'
if [[ -r $profile ]]; then
  jq --arg arch "$arch" '{defaultAction, defaultErrnoRet,
    architectures: [.archMap[] | select(.architecture == {amd64: "SCMP_ARCH_X86_64", arm64: "SCMP_ARCH_AARCH64"}[$arch])
      | .architecture, .subArchitectures[]],
    syscalls: [.syscalls[]
      | select((.includes.caps // []) == [] and ((.includes.arches // [$arch]) | index($arch)))
      | {names, action, errnoRet, args} | del(..|nulls)]}' "$profile" >"$scratch/seccomp.json"
else
  printf '%s\n' "*** $profile is missing: RUN WITHOUT SECCOMP. ***" >&2
  echo null >"$scratch/seccomp.json"
  seccomp='Seccomp: 0'
fi

# run NAME USER FOLDER ARGUMENT...: a container of the image until it ends, with what FOLDER holds.
run() {
  local name=$1 user=$2 folder=$3 bundle=$scratch/$1
  shift 3
  mkdir "$bundle"
  (cd "$bundle" && runc spec)
  jq --arg root "$scratch/bundle/rootfs" --argjson user "$user" --arg folder "$folder" --arg etc "$scratch/etc" \
    --slurpfile image "$config" --slurpfile seccomp "$scratch/seccomp.json" \
    --argjson arguments "$(printf '%s\n' "$@" | jq --raw-input . | jq --slurp .)" '
    def file($from; $to; $how):
      {destination: $to, source: $from, type: "bind", options: ["bind", "nosuid", "nodev", $how]};
    .root = {path: $root, readonly: true}
    | .process |= (.terminal = false | .noNewPrivileges = true | .user = {uid: $user, gid: $user}
      | .capabilities = {} | .env = $image[0].config.Env | .args = $image[0].config.Entrypoint + $arguments)
    | .linux.namespaces |= map(select(.type != "network"))
    | .linux.seccomp = $seccomp[0]
    | .mounts += [
        file("\($etc)/hosts"; "/etc/hosts"; "ro"), file("\($etc)/resolv.conf"; "/etc/resolv.conf"; "ro"),
        file("\($folder)/certificates"; "/certificates"; "ro"),
        file("\($folder)/mnt"; "/mnt"; "rw"), file("\($folder)/kubeconfig"; "/kubeconfig"; "ro")]
  ' "$bundle/config.json" >"$bundle/changed.json"
  mv "$bundle/changed.json" "$bundle/config.json"
  containers run --bundle "$bundle" "$name-$mark"
}

until_true "the control plane is up" grep -q KUBECONFIG "$scratch/up"
until_true "the nameserver is up" grep -q ready "$scratch/nameserver"
KUBECONFIG=$(sed -n 's/^export KUBECONFIG=//p' "$scratch/up")
export KUBECONFIG

# constrained USER PROC: fails unless the process is what it should be, in the eyes of the kernel.
constrained() {
  local status line
  status=$(tr '\t' ' ' <"$2/status")
  for line in {Uid,Gid}": $1 $1 $1 $1" Cap{Inh,Prm,Eff,Bnd,Amb}': 0000000000000000' 'NoNewPrivs: 1' "$seccomp"; do
    grep -qxF "$line" <<<"$status" || fail "not in the status of the server: $line"
  done
  awk '$5 == "/" && $6 ~ /^ro,/ { found = 1 } END { exit !found }' "$2/mountinfo" || fail 'the root is not read-only'
}

# play USER HOST: the whole story, as that user, with an API server of that name.
play() {
  local user=$1 host=$2 folder=$scratch/user-$1 server owner
  step "user $user, API server $host"
  mkdir -p "$folder/mnt"
  "$built/kubectl-replicas" certs --dir "$folder/certificates" --host "$host" >"$folder/certs.log"
  # A key is its owner's alone, and the user in the container is that owner.
  chown -R "$user:$user" "$folder/certificates" "$folder/mnt"
  "$kubectl" config view --raw --minify --flatten -o json |
    jq --arg host "$host" '.clusters[].cluster |= (.server |= sub("127.0.0.1|localhost"; $host)
      | .["tls-server-name"] = "localhost")' >"$folder/kubeconfig"

  run "server-$user" "$user" "$folder" --kubeconfig /kubeconfig --cert-file /certificates/server/server.crt \
    --key-file /certificates/server/server.key --ca-cert-file /certificates/ca/ca.crt 2>"$scratch/server-$user.log" &
  server=$!
  run "check-$user" "$user" "$folder" check --address "$host:8080" --wait 60 --ca /certificates/ca/ca.crt \
    --cert /certificates/client/client.crt --key /certificates/client/client.key

  constrained "$user" "/proc/$(containers state "server-$user-$mark" | jq .pid)"

  "$kubectl" create deployment "web-$user" --image none --replicas 2 >/dev/null
  "$grpcurl" -cacert "$folder/certificates/ca/ca.crt" -cert "$folder/certificates/client/client.crt" \
    -key "$folder/certificates/client/client.key" -proto proto/deployments.proto \
    -d '{"Namespace": "default", "Name": "web-'"$user"'", "Replicas": 2}' localhost:8080 \
    proto.DeploymentsService.SetDeployment >/dev/null
  "$kubectl" scale deployment "web-$user" --replicas 5 >/dev/null
  until_true 'the drift is repaired' grep -q 'repaired.*from=5 to=2 by="kubectl"' "$scratch/server-$user.log"
  [[ $("$kubectl" get deployment "web-$user" -o jsonpath='{.spec.replicas}') == 2 ]] || fail 'the count is not 2'

  containers kill "server-$user-$mark" TERM
  wait "$server" || fail "the server ended with $?"
  owner=$(stat -c %u "$folder/mnt/replicas.json")
  [[ $owner == "$user" ]] || fail "the settings belong to user $owner"
}

play "$own_user" localhost
play 12345 by-hosts.test
play 1000660000 by-nameserver.test

printf '\nThe image runs: %s\n' "$archive"
