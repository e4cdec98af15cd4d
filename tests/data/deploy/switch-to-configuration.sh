#!/bin/sh
# What bin/switch-to-configuration of a generation does in the tests, with real processes.
set -eu
generation=$(dirname -- "$(dirname -- "$(readlink -f -- "$0")")")
case $1 in
boot)
    for link in "$ROOT"/nix/var/nix/profiles/system-*-link; do readlink -f -- "$link"; done >"$ROOT/entries"
    echo "$generation" >"$ROOT/default"
    ;;
test)
    sh "$LIB/stop.sh"
    if [ -e "$ROOT/die-while-activating" ]; then
        rm "$ROOT/die-while-activating"
        kill -9 "$PPID" # the switch, and this script with it: half of the work is done
        kill -9 $$
    fi
    [ ! -e "$generation/refuses" ] || { echo "the activation script failed" >&2; exit 2; }
    ln -sfn "$generation" "$ROOT/run/current-system"
    sh "$LIB/start.sh"
    ;;
esac
