# What both forms of a Proxmox guest share. The gateway and the standby of the other hosts do not exist there.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (config) fileExtension formatAttr; # of nixos-generators
  hostsWithRole = (import ../lib/system.nix).hostsWithRole config.barnabee.system;
in
{
  system.build.guestImage =
    pkgs.runCommandLocal "image-${config.networking.hostName}"
      {
        fileName = config.networking.hostName + fileExtension; # what `create-guests.sh` expects
      }
      ''
        shopt -s globstar
        mkdir $out
        ln -s ${config.system.build.${formatAttr}}/**/*${fileExtension} $out/$fileName
        test -e $out/$fileName
      '';
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
