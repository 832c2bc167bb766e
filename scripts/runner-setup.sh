#!/usr/bin/env bash
# Makes the programs of scripts/release-tools.sh usable in the steps that follow: runner-setup.sh FOLDER
#
# Puts FOLDER on the PATH and has ECR ask docker-credential-ecr-login, which uses the IAM role of the pod (IRSA), for
# passwords: none is stored. From the environment: ECR_REPOSITORY, and GITHUB_PATH and GITHUB_ENV of GitHub Actions.
set -euo pipefail
(($# == 1)) || { echo 'usage: runner-setup.sh FOLDER' >&2; exit 64; }
: "${ECR_REPOSITORY:?}" "${GITHUB_PATH:?}" "${GITHUB_ENV:?}"
folder=$(cd "$1" && pwd)

# Artifacts keep no permissions.
chmod +x "$folder"/*
printf '%s\n' "$folder" >>"$GITHUB_PATH"

mkdir -p "$folder/docker"
jq -n --arg registry "${ECR_REPOSITORY%%/*}" '{credHelpers: {($registry): "ecr-login"}}' >"$folder/docker/config.json"
printf 'DOCKER_CONFIG=%s\n' "$folder/docker" >>"$GITHUB_ENV"
