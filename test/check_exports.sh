#!/usr/bin/env bash
# The library exports the server's entry points and nothing of C++: the server opens libraries with
# RTLD_GLOBAL, so any other symbol could collide with another extension's. Also the reverse: each
# C function that the SQL script names must be there. And nothing of the library runs when it is
# loaded (by the postmaster, perhaps), when the process exits (without shared memory by then), or
# under the guard of a local static.
set -uo pipefail
cd "$(dirname "$0")/.."
library=${1:-alerting.so}
[ -e "$library" ] || {
  echo "check_exports: no $library; run make first"
  exit 1
}

exports=$(nm -D --defined-only "$library" | awk '{print $NF}' | sed 's/@.*//' | sort)
status=0
foreign=$(grep -vE '^(_PG_init|Pg_magic_func|(pg_finfo_)?alerting_[a-z0-9_]+)$' <<<"$exports")
if [ -n "$foreign" ]; then
  echo "exported, but no entry point of the server:"
  c++filt <<<"$foreign" | sed 's/^/  /'
  status=1
fi
for name in _PG_init Pg_magic_func; do
  grep -qx "$name" <<<"$exports" || {
    echo "not exported: $name"
    status=1
  }
done
for name in $(cat extension/*/*.sql extension/*.sql 2>/dev/null |
  grep -oE "MODULE_PATHNAME'?, *'alerting_[a-z0-9_]+" | grep -oE 'alerting_[a-z0-9_]+' | sort -u); do
  for symbol in "$name" "pg_finfo_$name"; do
    grep -qx "$symbol" <<<"$exports" || {
      echo "named in the SQL script, but not exported: $symbol"
      status=1
    }
  done
done
dynamic=$(nm "$library" | awk '{print $NF}' | grep -E '^(_GLOBAL__|_ZGV)')
if [ -n "$dynamic" ]; then
  echo "made or destroyed at run time, but static:"
  c++filt <<<"$dynamic" | sed 's/^/  /'
  status=1
fi
[ $status -ne 0 ] || echo "check_exports: $(wc -l <<<"$exports") symbols, all of them entry points"
exit $status
