#!/usr/bin/env bash
# Builds the programs that publishing and deploying need but self-hosted runners lack, into target/release-tools/: crane
# and docker-credential-ecr-login (deploy/tools), kubectl and grpcurl (cluster).
#
# They are static, and go.mod and go.sum pin them with checksums. Building needs only Go.
set -euo pipefail
cd "$(dirname "$0")/.."
output=$PWD/target/release-tools
mkdir -p "$output"

# build MODULE PACKAGE...
build() {
  echo "$@"
  (cd "$1" && shift && GOWORK=off GOFLAGS=-mod=readonly CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$output/" "$@")
}

build deploy/tools tool
build cluster/grpcurl github.com/fullstorydev/grpcurl/cmd/grpcurl
build cluster/1.36 k8s.io/kubernetes/cmd/kubectl
ls -l "$output"
