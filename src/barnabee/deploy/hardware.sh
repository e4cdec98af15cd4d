#!/bin/sh
# Prints the hardware that a host's configuration names: one line each, its fields separated by tabs.
# Runs on the machine itself or over SSH. ROOT is another root directory, for tests.
set -eu
root=${ROOT:-}

vendor=$(sed -n 's/^vendor_id[[:space:]]*: *//p' "$root/proc/cpuinfo" | head -n 1)
printf 'cpu\t%s\n' "$vendor"

for link in "$root"/dev/disk/by-id/*; do
    case $link in *-part[0-9]*) continue ;; esac
    [ -L "$link" ] || continue
    block=$(basename "$(readlink "$link")")
    device=$root/sys/block/$block
    [ -e "$device/size" ] || continue
    bus=internal
    case $(readlink -f "$device") in */usb*) bus=usb ;; esac
    [ "$(cat "$device/removable")" = 0 ] || bus=removable
    printf 'disk\t%s\t%s\t%s\t%s\n' "$(basename "$link")" "$block" "$(cat "$device/size")" "$bus"
done

for interface in "$root"/sys/class/net/*; do
    [ -e "$interface/device" ] || continue
    [ ! -e "$interface/wireless" ] || continue
    state=$(cat "$interface/operstate" 2>/dev/null || echo unknown)
    printf 'interface\t%s\t%s\n' "$(basename "$interface")" "$state"
done

for device in "$root"/sys/bus/pci/devices/*; do
    [ -e "$device/vendor" ] || continue
    module=$(basename "$(readlink "$device/driver/module" 2>/dev/null || true)")
    iommu=no
    [ ! -e "$device/iommu_group" ] || iommu=yes
    printf 'pci\t%s\t%s\t%s\t%s\t%s\t%s\n' "$(basename "$device")" "$(cat "$device/vendor")" \
        "$(cat "$device/device")" "$(cat "$device/class")" "$iommu" "$module"
done
