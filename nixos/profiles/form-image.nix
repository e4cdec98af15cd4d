# What both forms of a Proxmox guest share. The gateway and the standby of the other hosts do not exist there.
{ config, lib, ... }:
let
  hostsWithRole = (import ../lib/system.nix).hostsWithRole config.barnabee.system;
in
{
  image.baseName = config.networking.hostName; # the name that `create-guests.sh` expects
  barnabee = {
    network.gateway = null;
    standby.virtualIp = null;
    alerts.machines = lib.concatMap hostsWithRole [
      "core"
      "gpu"
      "monitoring"
    ];
  };
}
