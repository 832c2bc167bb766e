#!/usr/bin/env bash
# Makes the programs from scripts/release-tools.sh available to later steps: runner-setup.sh FOLDER
#
# Adds FOLDER to PATH, and configures docker-credential-ecr-login for ECR. It uses the IAM role of the pod (IRSA), so no
# password is stored. Environment: ECR_REPOSITORY, and GITHUB_PATH and GITHUB_ENV from GitHub Actions.
set -euo pipefail
(($# == 1)) || { echo 'usage: runner-setup.sh FOLDER' >&2; exit 64; }
: "${ECR_REPOSITORY:?}" "${GITHUB_PATH:?}" "${GITHUB_ENV:?}"
folder=$(cd "$1" && pwd)

# Artifacts do not keep file permissions.
chmod +x "$folder"/*
printf '%s\n' "$folder" >>"$GITHUB_PATH"

mkdir -p "$folder/docker"
jq -n --arg registry "${ECR_REPOSITORY%%/*}" '{credHelpers: {($registry): "ecr-login"}}' >"$folder/docker/config.json"
printf 'DOCKER_CONFIG=%s\n' "$folder/docker" >>"$GITHUB_ENV"
