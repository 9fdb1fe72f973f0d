#!/usr/bin/env bash
# The site of docs/ builds, and no link in it is broken.
set -uo pipefail
cd "$(dirname "$0")/.."
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
mkdocs build --strict --quiet --site-dir "$site" || exit 1
pages=$(find "$site" -name index.html | wc -l)
[ "$pages" -ge "$(find docs -name '*.md' | wc -l)" ] || {
  echo "check_docs: only $pages pages"
  exit 1
}
# Nothing is loaded from elsewhere.
foreign=$(grep -rhoE '(src|href)="https?://[^"]*\.(js|css|woff2?)[^"]*"' "$site" --include=*.html | sort -u)
[ -z "$foreign" ] || {
  echo "check_docs: loaded from elsewhere: $foreign"
  exit 1
}
echo "check_docs: $pages pages"
