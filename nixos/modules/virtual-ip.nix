# Virtual IP address of the deployment (keepalived/VRRP). It follows the lease: the standby may hold the
# address only while no other host holds the lease.
{
  config,
  lib,
  pkgs,
  barnabeeLib,
  ...
}:
let
  cfg = config.barnabee.standby;
  inherit (config.barnabee) name uplink;
  holders = [ cfg.virtualIpHost ] ++ cfg.standbyHosts;
  isStandby = lib.elem name cfg.standbyHosts;
  peers = lib.filter (host: host != name) holders;
  lanAddressOf = host: cfg.lanAddresses.${host} or "0.0.0.0";
  start = unit: "${pkgs.systemd}/bin/systemctl start --no-block ${unit}";
  api = barnabeeLib.urlOf "http" "api";
in
{
  config = lib.mkIf (cfg.enable && lib.elem name holders) {
    services.keepalived = {
      enable = true;
      enableScriptSecurity = true;
      vrrpScripts.barnabee = {
        # The lease keeper creates the file. A host that forwards to the primary checks its API instead.
        script =
          if lib.elem name cfg.members then
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
        priority = if isStandby then 100 else 150;
        unicastSrcIp = lanAddressOf name;
        unicastPeers = map lanAddressOf peers;
        virtualIps = [ { addr = toString cfg.virtualIp; } ];
        trackScripts = [ "barnabee" ];
        extraConfig = lib.optionalString isStandby ''
          notify_master "${start "barnabee-promote.service"}" root
          notify_backup "${start "barnabee-demote.service"}" root
          notify_fault "${start "barnabee-demote.service"}" root
        '';
      };
    };

    # It ends at once while the uplink does not exist yet, and must not give up for that.
    systemd.services.keepalived.startLimitIntervalSec = 0;

    networking.firewall.extraInputRules = ''
      ip saddr { ${lib.concatMapStringsSep ", " lanAddressOf peers} } ip protocol 112 accept
    '';
  };
}
