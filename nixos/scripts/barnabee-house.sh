# Runs `barnabee "$@"` as the house's services run: as one of the group barnabee, with their settings
# and the keys of the replica. BARNABEE, ENVIRONMENT and CREDENTIALS stand before this text.
set -eu
if [ "$(id -u)" != 0 ]; then
    echo "barnabee-house: only root has the keys of the house: sudo barnabee-house $*" >&2
    exit 2
fi
how=--pipe
if [ -t 0 ] && [ -t 1 ]; then how=--pty; fi
set -- -- "$BARNABEE" "$@"
for credential in $CREDENTIALS; do
    set -- --property=LoadCredential="$credential" "$@"
done
exec systemd-run --quiet --collect --wait "$how" \
    --property=EnvironmentFile="$ENVIRONMENT" --property=Group=barnabee --property=UMask=0007 "$@"
