#!/bin/sh
# Is the running generation well? Its own process answers, reads the database, and fits the driver.
set -eu
generation=$(readlink -f "$ROOT/run/current-system")
fail() { echo "$*" >&2; exit 1; }
for _ in $(seq 100); do [ -e "$ROOT/run/answers" ] && break; sleep 0.05; done
[ -e "$ROOT/run/answers" ] || fail "the api does not answer"
tr '\0' ' ' <"/proc/$(cat "$ROOT/run/pid")/cmdline" | grep -q -- "$generation" || fail "an old api answers"
[ ! -e "$generation/unwell" ] || fail "the api answers 500"
[ "$("$PYTHON" "$LIB/database.py" schema)" -le "$(cat "$generation/schema")" ] || fail "database_too_new"
