#!/usr/bin/env bash
# Checks the words of all documents with vale, by the rules in .ci/vale/House.
set -euo pipefail
cd "$(dirname "$0")/.."

vale=$(scripts/tool.sh vale)
git ls-files -z --cached --others --exclude-standard -- '*.md' '*.md.gotmpl' | while IFS= read -r -d '' file; do
  [[ ! -e $file ]] || printf '%s\0' "$file"
done | xargs -0 "$vale" --output line
echo 'The documents keep to the rules of .ci/vale/House.'
