#!/usr/bin/env bash
# Generates the chart's README from README.md.gotmpl and the comments in values.yaml.
set -euo pipefail
cd "$(dirname "$0")/.."
"$(scripts/tool.sh helm-docs)" --chart-search-root charts --sort-values-order file --log-level warning
