# The house's one address, and on which machine it is: keepalived, on the carrier of the primary and on
# the stand-by. The address follows the lease: the stand-by may have it only while nobody else holds it.
{
  config,
  lib,
  pkgs,
  house,
  ...
}:
let
  cfg = config.barnabee.standby;
  inherit (config.barnabee) name uplink;
  carries = cfg.enable && lib.elem name ([ cfg.carrier ] ++ cfg.waiting);
  waits = lib.elem name cfg.waiting;
  peers = lib.filter (host: host != name) ([ cfg.carrier ] ++ cfg.waiting);
  lanOf = host: cfg.lan.${host} or "0.0.0.0";
  start = unit: "${pkgs.systemd}/bin/systemctl start --no-block ${unit}";
  api = house.urlOf "http" "api";
in
{
  config = lib.mkIf carries {
    services.keepalived = {
      enable = true;
      enableScriptSecurity = true;
      vrrpScripts.barnabee = {
        # The sign is of the keeper; the carrier of a primary elsewhere asks whether it serves.
        script =
          if lib.elem name cfg.parties then
            "${pkgs.coreutils}/bin/test -e /run/barnabee-lease/address"
          else
            "${pkgs.curl}/bin/curl -fsS -m 2 -o /dev/null ${api}/health/ready";
        interval = 2;
        timeout = 3;
        fall = 3;
        rise = 1;
        user = "root";
      };
      vrrpInstances.barnabee = {
        interface = toString uplink;
        state = "BACKUP";
        noPreempt = true;
        virtualRouterId = cfg.routerId;
        priority = if waits then 100 else 150;
        unicastSrcIp = lanOf name;
        unicastPeers = map lanOf peers;
        virtualIps = [ { addr = toString cfg.address; } ];
        trackScripts = [ "barnabee" ];
        extraConfig = lib.optionalString waits ''
          notify_master "${start "barnabee-promote.service"}" root
          notify_backup "${start "barnabee-demote.service"}" root
          notify_fault "${start "barnabee-demote.service"}" root
        '';
      };
    };

    networking.firewall.extraInputRules = ''
      ip saddr { ${lib.concatMapStringsSep ", " lanOf peers} } ip protocol 112 accept
    '';
  };
}
