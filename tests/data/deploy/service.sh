#!/bin/sh
# The service of a generation in the tests: migrates the database, then lives until it is stopped.
# usage: service.sh GENERATION
set -eu
generation=$1
schema=$(cat "$generation/schema")
"$PYTHON" "$LIB/database.py" migrate "$schema"
cat "$generation/schema" >"$ROOT/run/answers"
trap 'exit 0' TERM
while :; do sleep 60 & wait $!; done
