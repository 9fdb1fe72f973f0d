#!/usr/bin/env bash
# One version everywhere: the control file, META.json, the changelogs' newest entries, the library and
# the SQL scripts. META.json wants three numbers where the control file has two.
set -uo pipefail
cd "$(dirname "$0")/.."
status=0
complain() {
  echo "$1"
  status=1
}

version=$(sed -n "s/^default_version *= *'\(.*\)'.*/\1/p" alerting.control)
[ -n "$version" ] || complain "alerting.control names no default_version"
[ -d "extension/$version" ] || complain "extension/$version: no such folder"
# Every released version can be updated, by one step or several, and no script leads past this version.
for script in extension/released/alerting--*.sql extension/updates/*--*.sql; do
  [ -e "$script" ] || continue
  newest=$(printf '%s\n%s\n' "${script##*--}" "$version.sql" | sort -V | tail -n 1)
  [ "$newest" = "$version.sql" ] || complain "$script leads past default_version $version"
done
previous=$(cd extension/released && printf '%s\n' alerting--*.sql | grep -v -e '--.*--' | sort -V | tail -n 1)
previous=${previous#alerting--} previous=${previous%.sql}
[ -e "extension/updates/$previous--$version.sql" ] || complain "extension/updates/$previous--$version.sql: no such file"
[ ! -e "extension/released/alerting--$version.sql" ] || complain "extension/released: $version is this version"
grep -q "\.version = \"$version\.0\"" src/pg/compat.h || complain "src/pg/compat.h: the library's version is not $version.0"
grep -q "\"alerting/$version\"" src/net/transfer_options.cpp || complain "src/net/transfer_options.cpp: the user agent is not alerting/$version"
grep -q "kServedVersion\[\] = \"$version\"" src/ext/version.h || complain "src/ext/version.h: kServedVersion is not $version"

python3 - "$version" <<'EOF_PYTHON' || status=1
import json, re, sys

version = sys.argv[1]
full = version + ".0" if version.count(".") == 1 else version
problems = []
meta = json.load(open("META.json"))

# What the PGXN Meta Spec 1.0.0 requires, and what we promise beyond it.
for key in ("name", "version", "abstract", "maintainer", "license", "provides", "meta-spec",
            "prereqs", "release_status", "resources"):
    if not meta.get(key):
        problems.append(f"META.json: no {key}")
if meta.get("meta-spec", {}).get("version") != "1.0.0":
    problems.append("META.json: meta-spec.version is not 1.0.0")
if meta.get("version") != full:
    problems.append(f"META.json: version {meta.get('version')}, expected {full}")
if not re.fullmatch(r"\d+\.\d+\.\d+", str(meta.get("version"))):
    problems.append("META.json: version is no semantic version")
provided = meta.get("provides", {}).get("alerting", {})
if provided.get("version") != full:
    problems.append(f"META.json: provides.alerting.version {provided.get('version')}, expected {full}")
if provided.get("file") != f"alerting--{version}.sql":
    problems.append(f"META.json: provides.alerting.file is not alerting--{version}.sql")
try:
    open(provided.get("docfile", "")).close()
except OSError:
    problems.append(f"META.json: provides.alerting.docfile {provided.get('docfile')!r} does not exist")

entries = re.findall(r"^## \[?([0-9][^\]\s]*)", open("CHANGELOG.md").read(), re.M)
if not entries or entries[0] != full:
    problems.append(f"CHANGELOG.md: newest entry {entries[:1]}, expected {full}")

packaged = re.match(r"postgresql-alerting \((.*)-\d+\)", open("debian/changelog").read())
if not packaged or packaged.group(1) != full:
    problems.append(f"debian/changelog: newest entry is not {full}-1")

print("\n".join(problems), end="\n" if problems else "")
sys.exit(bool(problems))
EOF_PYTHON
[ $status -ne 0 ] || echo "check_versions: $version everywhere"
exit $status
