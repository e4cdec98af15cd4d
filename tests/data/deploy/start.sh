#!/bin/sh
# Start the service of the running generation.
set -eu
[ ! -e "$ROOT/run/pid" ] || exit 0
rm -f "$ROOT/run/answers"
setsid sh "$LIB/service.sh" "$(readlink -f "$ROOT/run/current-system")" </dev/null >/dev/null 2>&1 &
echo $! >"$ROOT/run/pid"
