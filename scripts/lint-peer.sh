#!/usr/bin/env bash
# Checks the Go operator that the benchmarks compare with: gofmt, go vet, its tests, and that its generated package is
# the one that the contract stands for.
#
# Needs Go, and what scripts/lint-tools.sh needs.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=$(scripts/lint-tools.sh)
PATH="$tools:$PATH"
# As the benchmarks build it, so that nothing is compiled twice.
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
  echo 'The contract has changed: run `buf generate ../../..` in harness/bench/peer.' >&2
  exit 1
}
echo 'ok      the Go operator'
