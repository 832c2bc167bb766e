#!/usr/bin/env bash
# Checks the shape of the product: no module of a crate uses a module that uses it, even through others, and no file is
# longer than 400 lines without its tests. (Clippy limits functions: see clippy.toml.)
#
# Installs cargo-modules into a per-user cache, if necessary. That takes some minutes.
set -euo pipefail
cd "$(dirname "$0")/.."

# The newest version for the Rust of rust-toolchain.toml.
readonly version=0.26.0 max_lines=400
readonly home="${XDG_CACHE_HOME:-$HOME/.cache}/replica-count-manager/tools/cargo-modules-$version"

if [[ "$("$home/bin/cargo-modules" modules --version 2>/dev/null)" != "cargo-modules $version" ]]; then
  echo 'Installing cargo-modules, once...' >&2
  cargo install --quiet --locked --root "$home" --version "$version" cargo-modules
fi

# uses PACKAGE TARGET...: pairs of modules of which the first uses the second.
uses() {
  "$home/bin/cargo-modules" modules dependencies --no-externs --no-sysroot -p "$1" "${@:2}" | awk -F '"' '
    function module(item) { while (!(item in modules)) sub(/::[^:]*$/, "", item); return item }
    $3 ~ /^ \[label=/ && $4 ~ /(^|[ ])(crate|mod)\|/ { modules[$2] = 1 }
    $3 == " -> " && $6 == "uses" { from[++count] = $2; to[count] = $4 }
    END {
      if (!count) { print "no module uses another one" > "/dev/stderr"; exit 1 }
      for (n = 1; n <= count; n++) if (module(from[n]) != module(to[n])) print module(from[n]), module(to[n])
    }' | sort -u
}

failed=0
for crate in crates/*/; do
  package="replica-count-$(basename "$crate")"
  pairs=$(uses "$package" --lib)
  if ! circle=$(tsort <<<"$pairs" 2>&1 >/dev/null); then
    members=$(sed '/input contains a loop/d; s/^tsort: //' <<<"$circle" | sort -u)
    printf '%s: these modules use each other in a circle:\n' "$package" >&2
    awk 'NR == FNR { circle[$1] = 1; next } ($1 in circle) && ($2 in circle) { print "  " $1 " uses " $2 }' \
      <(echo "$members") <(echo "$pairs") >&2
    echo 'Move what both need into a module below them, or pass it as a parameter (DESIGN.md, "No circles").' >&2
    failed=1
  fi
done

while read -r file; do
  # A file ends here where its tests begin.
  lines=$(awk '/^#\[cfg\(test\)\]$/ { getline; if (/^mod tests \{$/) exit } { count++ } END { print count }' "$file")
  if ((lines > max_lines)); then
    printf '%s: %d lines without tests; at most %d: split it by what it is for\n' "$file" "$lines" "$max_lines" >&2
    failed=1
  fi
done < <(git ls-files 'crates/*.rs' | grep -vE '/tests(/|\.rs$)')

((!failed)) && echo 'The modules of the product have no circles, and its files are short.'
