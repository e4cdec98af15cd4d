#!/bin/sh
# Removes what ./barnabee made: the environment, caches and run files; with --data also the database, its
# replica, logs and secrets. Works without the environment. The checkout itself stays.
set -eu

say() { printf '%s\n' "barnabee: $*"; }

root=$(cd "$(dirname "$0")/.." && pwd)
home=${BARNABEE_HOME:-$root/.barnabee}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/barnabee
models=${BARNABEE_MODELS:-$cache/models}
data=
case ${1:-} in
    '') ;;
    --data) data=1 ;;
    *)
        say "$1 is not an option of uninstall; there is --data" >&2
        exit 2
        ;;
esac

if [ -e "$home/run/lock" ] && ! flock -n "$home/run/lock" true; then
    say "the assistant is running: stop it with ./barnabee down, then try again." >&2
    exit 1
fi

remove() {
    for path in "$@"; do
        if [ -e "$path" ]; then
            say "removing $path ($(du -sm -- "$path" | cut -f1) MB)"
            rm -rf -- "$path"
        fi
    done
}

remove "$root/.barnabee/venv" "$root/.barnabee/uv-cache" "$root/.barnabee/uv.txt" "$root/.barnabee/set-up.log" \
    "$root/.barnabee/set-up.lock" "$home/run" "$root/src/dashboard/node_modules"
for path in "$cache"/* "$cache"/.[!.]*; do
    [ "$path" = "$cache/models" ] || remove "$path"
done
# Models with a pin can be fetched again; the others are the user's own.
pinned=$(sed -n 's/^\[model\.\([^].]*\)\]$/\1/p; s/^\[model\."\([^"]*\)"\]$/\1/p' "$root/pkgs/models/models.toml")
for name in $pinned; do
    remove "$models/$name" "$models/.$name.lock" "$models/.$name.partial"
done
[ -z "$data" ] || remove "$home/data" "$home/secrets" "$home/logs"
rmdir "$models" "$cache" "$home" 2>/dev/null || true

for path in "$models" "$home/data" "$home/secrets" "$home/logs"; do
    [ ! -e "$path" ] || say "kept: $path"
done
for name in redis-server restic; do
    if command -v "$name" >/dev/null; then
        say "kept: the Debian package $name; if nothing else needs it: sudo apt-get remove $name"
    fi
done
say "done; the checkout $root can be deleted"
