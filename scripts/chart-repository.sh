#!/usr/bin/env bash
# Makes a Helm repository of packaged charts: chart-repository.sh FOLDER URL PACKAGE...
#
# FOLDER gets the packages, index.yaml and a page for people; URL is where it is served.
set -euo pipefail
(($# >= 3)) || { echo 'usage: chart-repository.sh FOLDER URL PACKAGE...' >&2; exit 64; }
readonly folder=$1 url=$2
shift 2

helm=$(command -v helm) || helm=$("$(dirname "$0")/tool.sh" helm4)
mkdir -p "$folder"
cp "$@" "$folder/"
"$helm" repo index --url "$url" "$folder"
cat >"$folder/index.html" <<HTML
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Charts of Replica Count Manager</title>
<h1>Charts of Replica Count Manager</h1>
<pre>
helm upgrade --install replica-count-manager replica-count-manager \\
  --repo $url \\
  --namespace replica-count-manager \\
  --create-namespace
</pre>
<p><a href="index.yaml">index.yaml</a>, <a href="..">documentation</a></p>
</html>
HTML
