#!/usr/bin/env bash
# Downloads an artifact that an earlier job of this workflow run uploaded: artifact-download.sh NAME FOLDER
#
# Needs curl, jq and unzip, which both hosted runners and our self-hosted image have. (The latter has no `gh`.)
# Environment: GITHUB_TOKEN (with actions: read), GITHUB_REPOSITORY, GITHUB_RUN_ID, and GITHUB_API_URL unless it is the
# public one.
set -euo pipefail
(($# == 2)) || { echo 'usage: artifact-download.sh NAME FOLDER' >&2; exit 64; }
readonly name=$1 folder=$2
: "${GITHUB_TOKEN:?}" "${GITHUB_REPOSITORY:?}" "${GITHUB_RUN_ID:?}"
readonly api=${GITHUB_API_URL:-https://api.github.com}

# Passes the token by file descriptor, because other users can read the arguments of a process.
call() {
  curl --fail --silent --show-error --location --retry 5 --retry-all-errors --max-time 600 \
    --header @<(printf 'Authorization: Bearer %s\n' "$GITHUB_TOKEN") \
    --header 'Accept: application/vnd.github+json' --header 'X-GitHub-Api-Version: 2022-11-28' "$@"
}

listing=$(call "$api/repos/$GITHUB_REPOSITORY/actions/runs/$GITHUB_RUN_ID/artifacts?per_page=100&name=$name")
# The newest one, because a repeated job uploads again.
url=$(jq -r '[.artifacts[] | select(.expired | not)] | sort_by(.created_at) | last // {} | .archive_download_url // empty' \
  <<<"$listing")
[[ -n $url ]] || { printf 'this run has no artifact %s\n' "$name" >&2; exit 1; }

archive=$(mktemp)
trap 'rm -f "$archive"' EXIT
call --output "$archive" "$url"
mkdir -p "$folder"
unzip -q -o "$archive" -d "$folder"
printf 'downloaded %s: %s\n' "$name" "$(ls -C "$folder")"
