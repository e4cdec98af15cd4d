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
  inherit (house) graph graphs;
  cfg = config.barnabee.standby;
  inherit (config.barnabee) name network uplink;
  primaries = graphs.hostsWith graph "core";
  carries = cfg.enable && lib.elem name ([ cfg.carrier ] ++ cfg.waiting);
  waits = lib.elem name cfg.waiting;
  peers = lib.filter (host: host != name) ([ cfg.carrier ] ++ cfg.waiting);
  lanOf = host: cfg.lan.${host} or "0.0.0.0";
  plain = lib.head (lib.splitString "/" (toString cfg.address));
  shared = lib.filter (host: cfg.lan.${host} == plain) (lib.attrNames cfg.lan);
  without = lib.filter (host: !(cfg.lan ? ${host})) ([ cfg.carrier ] ++ cfg.waiting);
  start = unit: "${pkgs.systemd}/bin/systemctl start --no-block ${unit}";
  api = house.urlOf "http" "api";
in
{
  options.barnabee.standby = {
    enable = lib.mkOption {
      type = lib.types.bool;
      default = cfg.address != null;
      defaultText = lib.literalExpression "config.barnabee.standby.address != null";
      description = "Keep a stand-by: nothing is written without the lease, and the other machine follows.";
      example = false;
    };
    address = lib.mkOption {
      type = lib.types.nullOr (lib.types.strMatching "[0-9.]+/[0-9]+");
      default = null;
      description = "The one address under which the house is reached, on its own network; null: there is no stand-by.";
      example = "192.168.1.50/24";
    };
    lan = lib.mkOption {
      type = lib.types.attrsOf lib.types.str;
      default = { };
      description = "The own addresses, on the house's network, of the machines that may carry its address.";
      example = {
        beast = "192.168.1.10";
        manofwar = "192.168.1.11";
      };
    };
    carrier = lib.mkOption {
      type = lib.types.str;
      default = if network.gateway != null then network.gateway else lib.head (primaries ++ [ name ]);
      defaultText = lib.literalExpression "config.barnabee.network.gateway";
      description = "The machine that carries the address for the primary: the one that forwards to it, or itself.";
      example = "barnabee-core";
    };
    routerId = lib.mkOption {
      type = lib.types.ints.between 1 255;
      default = 77;
      description = "The number of the VRRP router; no other on the same network may have it.";
      example = 51;
    };
    parties = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = primaries ++ cfg.waiting;
      internal = true;
      description = "The hosts that may hold the lease.";
      example = [ "barnabee-core" ];
    };
    waiting = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = graphs.hostsWith graph "standby";
      internal = true;
      description = "The hosts that wait.";
      example = [ "manofwar" ];
    };
  };

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

    assertions = [
      {
        assertion = cfg.address != null;
        message = "barnabee.standby.enable needs the house's one address: set barnabee.standby.address.";
      }
      {
        assertion = cfg.waiting != [ ];
        message = "barnabee.standby.address is set, but no host of barnabee.system.host has the role standby; give one host that role, or unset barnabee.standby.address.";
      }
      {
        assertion = without == [ ];
        message = "barnabee.standby.lan has no address for ${lib.concatStringsSep ", " without}; add it.";
      }
      {
        assertion = shared == [ ];
        message = "barnabee.standby.address is the own address of ${lib.concatStringsSep ", " shared}; choose one that no machine has.";
      }
      {
        assertion = lib.length (lib.unique (lib.attrValues cfg.lan)) == lib.length (lib.attrNames cfg.lan);
        message = "barnabee.standby.lan gives two machines the same address; give each its own.";
      }
      {
        assertion = uplink != null;
        message = "barnabee.uplink is not set: name the interface of ${name} towards the house's network, where its address is to be.";
      }
    ];
  };
}
