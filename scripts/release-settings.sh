#!/usr/bin/env bash
# Checks that everything a release needs is configured, and prints all problems. See docs/EKS.md.
#
# Environment: ECR_REPOSITORY, a variable of the repository on GitHub.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=0
lacks() { printf '%s\n' "$*" >&2; missing=1; }

readonly registry='^[0-9]{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(\.cn)?/[a-z0-9]+([._/-][a-z0-9]+)*$'
if [[ -z ${ECR_REPOSITORY:-} ]]; then
  lacks 'The variable ECR_REPOSITORY is not set.'
elif [[ ! $ECR_REPOSITORY =~ $registry ]]; then
  lacks "ECR_REPOSITORY is not ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME: $ECR_REPOSITORY"
elif [[ $ECR_REPOSITORY == 123456789012.* ]]; then
  lacks 'ECR_REPOSITORY still has the account number of the examples.'
fi
if grep -q '@OWNER/' .github/CODEOWNERS; then
  lacks '.github/CODEOWNERS still has a placeholder instead of the maintainers.'
fi

if ((missing)); then
  echo 'This repository is not set up for releases: see docs/EKS.md.' >&2
  exit 1
fi
echo 'Everything that a release needs is configured.'
