#!/usr/bin/env bash
# Prints the manifest with which krew installs kubectl replicas: krew-manifest.sh VERSION URL FOLDER
#
# URL is that of the repository, whose release vVERSION has the archives in FOLDER.
set -euo pipefail
(($# == 3)) || { echo 'usage: krew-manifest.sh 1.2.3 https://github.com/OWNER/NAME FOLDER' >&2; exit 64; }
readonly version=$1 url=$2 folder=$3

cat <<YAML
apiVersion: krew.googlecontainertools.github.com/v1alpha2
kind: Plugin
metadata:
  name: replicas
spec:
  version: v$version
  homepage: $url
  shortDescription: Manage the replica counts of workloads
  description: |
    Shows and sets the replica counts that Replica Count Manager enforces, names who changes them, and shows all of
    them on a page. It needs the server in the cluster.
  platforms:
YAML
found=0
for archive in "$folder"/kubectl-replicas-*-*.tar.gz; do
  [[ -e $archive ]] || break
  file=$(basename "$archive")
  platform=${file#kubectl-replicas-}
  platform=${platform%.tar.gz}
  sum=$(sha256sum "$archive" | cut -d' ' -f1)
  cat <<YAML
    - selector:
        matchLabels:
          os: ${platform%%-*}
          arch: ${platform#*-}
      uri: $url/releases/download/v$version/$file
      sha256: $sum
      bin: kubectl-replicas
      files:
        - from: ./kubectl-replicas
          to: .
        - from: ./LICENSE
          to: .
YAML
  found=1
done
((found)) || { printf 'there is no archive in %s\n' "$folder" >&2; exit 1; }
