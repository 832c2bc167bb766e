#!/usr/bin/env bash
# Checks the Go operator of the benchmarks: gofmt, go vet, its tests, and that its generated package matches the proto
# file.
#
# Needs Go, and what scripts/lint-tools.sh needs.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=$(scripts/lint-tools.sh)
PATH="$tools:$PATH"
# The same flags as in the benchmarks, so nothing is compiled twice.
export GOWORK=off GOFLAGS='-mod=readonly -trimpath'
cd harness/bench/peer

unformatted=$(gofmt -l .)
if [[ -n $unformatted ]]; then
  printf 'gofmt would change:\n%s\n' "$unformatted" >&2
  exit 1
fi
go vet ./...
go test ./...

generated=$(mktemp -d)
trap 'rm -rf "$generated"' EXIT
buf generate ../../.. --output "$generated"
diff -r internal/proto "$generated/internal/proto" || {
  echo 'The proto file has changed: run `buf generate ../../..` in harness/bench/peer.' >&2
  exit 1
}
echo 'ok      the Go operator'
