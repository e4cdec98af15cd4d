# Runs `barnabee "$@"` in the group barnabee with the services' settings and the replica's keys.
# ops-command.nix puts BARNABEE, ENVIRONMENT and CREDENTIALS in front of this text.
set -eu
if [ "$(id -u)" != 0 ]; then
    echo "barnabee-ops: only root can read the secrets. Run: sudo barnabee-ops $*" >&2
    exit 2
fi
io=--pipe
if [ -t 0 ] && [ -t 1 ]; then io=--pty; fi
set -- -- "$BARNABEE" "$@"
for credential in $CREDENTIALS; do
    set -- --property=LoadCredential="$credential" "$@"
done
exec systemd-run --quiet --collect --wait "$io" \
    --property=EnvironmentFile="$ENVIRONMENT" --property=Group=barnabee --property=UMask=0007 "$@"
