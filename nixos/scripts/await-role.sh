# Waits until the services of this host, or of its container GUEST, can be asked. Exits with 0 when they can, with 1
# while that host follows another one and rightly runs none, with 255 after LIMIT seconds.
# usage: await-role.sh [-r] [-g GUEST] [-u UNIT] [-e FILE] LIMIT
#   -r  the host has a role, published by its lease keeper (src/barnabee/standby/roles.py)
#   -u  the service that must be active
#   -e  always exits with 0; FILE, for systemd, empties the variable OF_GUEST while GUEST follows
set -u
file="" guest="" roles="" unit=""
while getopts e:g:ru: option; do
    case $option in
        e) file=$OPTARG ;;
        g) guest=$OPTARG roles=yes ;;
        r) roles=yes ;;
        u) unit=$OPTARG ;;
        *) exit 255 ;;
    esac
done
shift $((OPTIND - 1))

# The root directory of the host; that of a container is the one of its first process.
find_root() {
    local leader
    [ -n "$guest" ] || return 0
    leader=$(machinectl show --value --property=Leader "$guest" 2>/dev/null)
    echo "/proc/${leader:-none}/root"
}

await() {
    local why="" directory
    while [ "$SECONDS" -lt "$1" ]; do
        directory=$(find_root)/run/barnabee-lease
        [ -z "$roles" ] || [ ! -e "$directory/follow" ] || return 1
        if [ -n "$roles" ] && [ ! -e "$directory/serve" ]; then
            why="${guest:-this host} has no role yet"
        elif [ -n "$unit" ] && ! systemctl is-active --quiet "$unit"; then
            why="$unit is not active"
        else
            return 0
        fi
        sleep 1
    done
    echo "$why, after $1 s" >&2
    return 255
}

[ -z "$file" ] || rm -f "$file"
await "$1"
status=$?
[ -n "$file" ] || exit $status
[ $status != 1 ] || echo "OF_GUEST=" >"$file"
