#!/usr/bin/env bash
# Who may include what, and where PostgreSQL's sharp edges may appear. Greps the sources; prints
# each offence as file:line: reason, and fails if there is one.
#
#   src/core  the C++ standard library and core/
#   src/net   that, curl and net/
#   src/pg    PostgreSQL, but only through pg/pg_headers.h
#   src/ext   all of the above; of its folders:
#     host, webhook      none of the others
#     capture            host
#     evaluator          capture, host, webhook
#     sender             host, webhook
#     functions          all of them
set -uo pipefail
cd "$(dirname "$0")/.."

failures=0
offence() {
  echo "$1: $2"
  failures=$((failures + 1))
}

# report REASON: one offence for each "file:line:text" on standard input.
report() {
  local file line text
  while IFS=: read -r file line text; do
    offence "$file:$line" "$1: ${text#"${text%%[![:space:]]*}"}"
  done
}

files() { find "$@" -name '*.h' -o -name '*.cpp' | sort; }
search() { # search PATTERN FILE...: like grep -n with names, no offence when nothing matches
  local pattern=$1
  shift
  [ $# -eq 0 ] || grep -HnE "$pattern" "$@"
}
# Without comments, so that prose may name what code may not use.
code_search() {
  local pattern=$1 file
  shift
  for file in "$@"; do
    sed -E 's@//.*$@@' "$file" | grep -nE "$pattern" | sed "s@^@$file:@"
  done
}

mapfile -t core < <(files src/core)
mapfile -t net < <(files src/net)
mapfile -t upper < <(files src/pg src/ext)
mapfile -t all < <(files src)

# A header of the standard library has no dot and no slash in its name.
std='<[a-z0-9_]+>'
report 'core includes only the standard library and core/' < <(
  search '^[[:space:]]*#[[:space:]]*include' "${core[@]}" | grep -vE "include ($std|\"core/[a-z0-9_]+\.h\")")
report 'net includes only the standard library, curl, core/ and net/' < <(
  search '^[[:space:]]*#[[:space:]]*include' "${net[@]}" |
    grep -vE "include ($std|<curl/[a-z]+\.h>|<(arpa|linux|netinet|sys)/[a-z]+\.h>|<(netdb|signal|unistd|poll|fcntl|pthread)\.h>|\"(core|net)/[a-z0-9_]+\.h\")")
report 'quoted includes name one of our layers' < <(
  search '^[[:space:]]*#[[:space:]]*include "' "${upper[@]}" |
    grep -vE '^src/pg/(pg_headers|compat)\.h:|include "(core|net|pg|ext(/[a-z]+)?)/[a-z0-9_]+\.h"')
report 'PostgreSQL headers come through pg/pg_headers.h' < <(
  search '^[[:space:]]*#[[:space:]]*include <' "${upper[@]}" |
    grep -E '<(postgres|fmgr|funcapi|miscadmin|pgstat|port|varatt|(access|catalog|commands|common|executor|lib|libpq|mb|nodes|optimizer|parser|port|postmaster|replication|rewrite|storage|tcop|utils)/[a-z0-9_/]+)(\.h)?>' |
    grep -vE '^src/pg/(pg_headers|compat)\.h:')
report 'core reads no clock, no environment, and starts no thread' < <(
  code_search 'std::chrono::(system|steady|high_resolution)_clock|\bgetenv\b|std::(thread|jthread|async)\b|\btime\(NULL\)|\bfopen\b|std::(cout|cerr|ifstream|ofstream)' "${core[@]}")
report 'ext is not included from a lower layer' < <(
  search '#[[:space:]]*include "ext/' "${core[@]}" "${net[@]}" $(files src/pg))
# may_include FOLDER OTHERS: which folders of ext it may include, as a pattern; the files of src/ext itself anybody may.
may_include() {
  report "ext/$1 includes nothing of this folder" < <(
    search '#[[:space:]]*include "ext/[a-z]+/' $(files "src/ext/$1") | grep -vE "include \"ext/($1|$2)/")
}
may_include host host
may_include webhook webhook
may_include capture host
may_include evaluator 'capture|host|webhook'
may_include sender 'host|webhook'
report 'PG_TRY and sigsetjmp belong to src/pg/guard.h' < <(
  code_search '\bPG_(TRY|CATCH|FINALLY|END_TRY|RE_THROW)\b|\bsigsetjmp\b|\bPG_exception_stack\b' "${all[@]}" | grep -v '^src/pg/guard\.\(h\|cpp\):')
report 'PG_VERSION_NUM belongs to src/pg/compat.h' < <(
  code_search '\bPG_VERSION_NUM\b' "${all[@]}" | grep -v '^src/pg/compat\.h:')
report 'no wait that the server cannot interrupt' < <(
  code_search '\b(sleep|usleep|nanosleep|pg_usleep|curl_multi_poll|curl_multi_wait|curl_easy_perform)[[:space:]]*\(' "${all[@]}" | grep -v '^src/pg/freeze_point\.h:')

if [ "$failures" -gt 0 ]; then
  echo "check_layers: $failures offence(s)"
  exit 1
fi
echo "check_layers: ${#all[@]} files, no offence"
