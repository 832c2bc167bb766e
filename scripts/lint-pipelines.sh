#!/usr/bin/env bash
# Lints everything except Rust and the chart: workflows, scripts, the Dockerfile, YAML, JSON, the proto contract, links.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=$(scripts/lint-tools.sh)
PATH="$tools:$PATH"

# Existing tracked and untracked files, except ignored ones such as target/.
files() { git ls-files -z --cached --others --exclude-standard -- "$@" | while IFS= read -r -d '' file; do
  [[ ! -e $file ]] || printf '%s\0' "$file"
done; }

failed=0

# check NAME COMMAND...: runs a check and continues after a failure, so one run shows everything.
check() {
  local name=$1
  shift
  if "$@"; then
    printf 'ok      %s\n' "$name"
  else
    printf 'FAILED  %s\n' "$name"
    failed=1
  fi
}

shell_scripts() { files '*.sh' .ci/run | xargs -0 shellcheck --enable=check-unassigned-uppercase,deprecate-which; }

dockerfile() { hadolint Dockerfile; }

workflows() { actionlint; }

# --offline skips only the lookup of known bad actions on GitHub.
workflow_security() { zizmor --offline --quiet --persona auditor .github; }

yaml() { files '*.yaml' '*.yml' | xargs -0 yamllint --strict; }

json() {
  local file bad=0
  while IFS= read -r -d '' file; do
    jq empty "$file" || { printf '%s: not valid JSON\n' "$file" >&2; bad=1; }
  done < <(files '*.json')
  return "$bad"
}

pull_requests() { "$tools/python" scripts/lint-workflows.py; }

links() { files '*.md' | xargs -0 lychee --offline --include-fragments --no-progress --quiet; }

messages() { "$tools/python" scripts/proto-docs.py --check; }

# The rules and exceptions are in buf.yaml.
contract_style() { buf lint; }

# The first published contract must be supported permanently, because it has clients. Messages have been renamed since,
# which does not affect the wire, so only the wire format is compared.
contract_since_the_first() {
  local old
  old=$(mktemp -d)
  mkdir "$old/proto"
  cp harness/testbed/tests/proto/original.proto "$old/proto/deployments.proto"
  breaking "$old"
}

# Compares with the contract on the main branch.
contract_since_main() {
  local old base main
  for main in origin/main main; do
    base=$(git merge-base HEAD "$main" 2>/dev/null) && break
  done
  # On the main branch itself, compares with the previous commit.
  [[ -n $base && $base != "$(git rev-parse HEAD)" ]] || base=$(git rev-parse --quiet --verify HEAD^) || {
    echo '*** This clone has no history: THE CONTRACT IS NOT COMPARED with the main branch in this run. ***' >&2
    return 0
  }
  old=$(mktemp -d)
  mkdir "$old/proto"
  git show "$base:proto/deployments.proto" >"$old/proto/deployments.proto" || return 1
  breaking "$old"
}

breaking() {
  local status=0
  cp buf.yaml "$1/"
  buf breaking --against "$1" || status=1
  rm -rf "$1"
  return "$status"
}

check 'scripts: shellcheck' shell_scripts
check 'Dockerfile: hadolint' dockerfile
check 'workflows: actionlint' workflows
check 'workflows: zizmor' workflow_security
check 'YAML: yamllint' yaml
check 'JSON: jq' json
check 'workflows: pull requests' pull_requests
check 'links: lychee' links
check 'contract: docs/reference/messages.md' messages
check 'contract: buf lint' contract_style
check 'contract: buf breaking, since it was first published' contract_since_the_first
check 'contract: buf breaking, since main' contract_since_main
exit "$failed"
