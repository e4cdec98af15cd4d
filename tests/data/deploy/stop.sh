#!/bin/sh
# Stop the service, if one runs.
set -eu
[ -e "$ROOT/run/pid" ] || exit 0
pid=$(cat "$ROOT/run/pid")
kill -9 -- "-$pid" 2>/dev/null || kill -9 "$pid" 2>/dev/null || true
rm -f "$ROOT/run/pid" "$ROOT/run/answers"
