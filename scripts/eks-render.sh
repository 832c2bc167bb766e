#!/usr/bin/env bash
# Fills your account, region, cluster and repository into the files of deploy/eks: eks-render.sh [FOLDER]
#
# Writes the files to FOLDER (target/eks). Environment:
#   AWS_ACCOUNT_ID   12 digits
#   AWS_REGION       of the cluster and the registry, for example eu-west-1
#   OIDC_ID          the last part of the URL of the cluster's OIDC provider
#   GITHUB_REPO      owner/name
# Fails if one is missing or still a placeholder.
set -euo pipefail
(($# <= 1)) || { echo 'usage: eks-render.sh [FOLDER]' >&2; exit 64; }
cd "$(dirname "$0")/.."
readonly folder=${1:-target/eks}

# need NAME PATTERN: fails unless the variable matches.
need() {
  [[ ${!1:-} =~ ^$2$ ]] || { printf '%s is not set to %s: %s\n' "$1" "$2" "${!1:-}" >&2; exit 64; }
}
: "${AWS_ACCOUNT_ID:=}" "${AWS_REGION:=}" "${OIDC_ID:=}" "${GITHUB_REPO:=}"
need AWS_ACCOUNT_ID '[0-9]{12}'
need AWS_REGION '[a-z]{2,}(-[a-z]+)+-[0-9]+'
need OIDC_ID '[0-9A-F]{32}'
need GITHUB_REPO '[A-Za-z0-9-]+/[A-Za-z0-9._-]+'

rm -rf "$folder"
mkdir -p "$folder"
cp -r deploy/eks/. "$folder"
find "$folder" -type f -exec sed -i \
  -e "s|123456789012|$AWS_ACCOUNT_ID|g" -e "s|\\bREGION\\b|$AWS_REGION|g" -e "s|\\bOIDC_ID\\b|$OIDC_ID|g" \
  -e "s|OWNER/REPO|$GITHUB_REPO|g" {} +

if [[ $AWS_ACCOUNT_ID == 123456789012 ]] || grep -rnE 'OWNER|\bREPO\b|\bREGION\b|OIDC_ID' "$folder"; then
  echo 'placeholders are left' >&2
  exit 1
fi
find "$folder" -type f | sort
