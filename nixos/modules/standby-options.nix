# Options of a deployment with a standby host, and the assertions about both hosts.
{
  config,
  lib,
  barnabeeLib,
  ...
}:
let
  inherit (barnabeeLib) graph graphLib;
  cfg = config.barnabee.standby;
  inherit (config.barnabee) name network uplink;
  lease = graph.standby;
  primaries = graphLib.hostsWithRole graph "core";
  holders = [ cfg.virtualIpHost ] ++ cfg.standbyHosts;
  virtualAddress = lib.head (lib.splitString "/" (toString cfg.virtualIp));
  conflicting = lib.filter (host: cfg.lanAddresses.${host} == virtualAddress) (
    lib.attrNames cfg.lanAddresses
  );
  missing = lib.filter (host: !(cfg.lanAddresses ? ${host})) holders;
  isStandby = lib.elem name cfg.standbyHosts;
  peers = lib.filter (host: host != name) cfg.members;
  addressOf = host: network.addresses.${host} or "${host}.invalid";
in
{
  options.barnabee.standby = {
    enable = lib.mkOption {
      type = lib.types.bool;
      default = cfg.virtualIp != null;
      defaultText = lib.literalExpression "config.barnabee.standby.virtualIp != null";
      description = "Run with a standby host: only the holder of the lease writes, and the other host follows it.";
      example = false;
    };
    virtualIp = lib.mkOption {
      type = lib.types.nullOr (lib.types.strMatching "[0-9.]+/[0-9]+");
      default = null;
      description = "Virtual IP address of the deployment on the home network, with its prefix length; null without a standby.";
      example = "192.168.1.50/24";
    };
    lanAddresses = lib.mkOption {
      type = lib.types.attrsOf lib.types.str;
      default = { };
      description = "Own address, on the home network, of each host that may hold the virtual IP address.";
      example = {
        beast = "192.168.1.10";
        manofwar = "192.168.1.11";
      };
    };
    virtualIpHost = lib.mkOption {
      type = lib.types.str;
      default = if network.gateway != null then network.gateway else lib.head (primaries ++ [ name ]);
      defaultText = lib.literalExpression "config.barnabee.network.gateway";
      description = "Host that holds the virtual IP address for the primary: the gateway that forwards to it, or the primary itself.";
      example = "barnabee-core";
    };
    routerId = lib.mkOption {
      type = lib.types.ints.between 1 255;
      default = 77;
      description = "VRRP router number, unique on the home network.";
      example = 51;
    };
    members = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = primaries ++ cfg.standbyHosts;
      internal = true;
      description = "Hosts that may hold the lease.";
      example = [ "barnabee-core" ];
    };
    servingPaths = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = lib.optionals (cfg.enable && lib.elem name cfg.members) [
        "barnabee-serve.path"
        "barnabee-healthy.path"
        "barnabee-replicate.path"
      ];
      internal = true;
      description = "Path units that start the services of this host while it holds the lease.";
      example = [ "barnabee-serve.path" ];
    };
    standbyHosts = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = graphLib.hostsWithRole graph "standby";
      internal = true;
      description = "Hosts with the role standby.";
      example = [ "manofwar" ];
    };
  };

  config.assertions =
    lib.optionals (cfg.enable && lib.elem name holders) [
      {
        assertion = cfg.virtualIp != null;
        message = "barnabee.standby.enable needs a virtual IP address: set barnabee.standby.virtualIp.";
      }
      {
        assertion = cfg.standbyHosts != [ ];
        message = "barnabee.standby.virtualIp is set, but no host of barnabee.system.host has the role standby; give one host that role, or unset barnabee.standby.virtualIp.";
      }
      {
        assertion = missing == [ ];
        message = "barnabee.standby.lanAddresses has no address for ${lib.concatStringsSep ", " missing}; add it.";
      }
      {
        assertion = conflicting == [ ];
        message = "barnabee.standby.virtualIp is the own address of ${lib.concatStringsSep ", " conflicting}; choose an address that no host has.";
      }
      {
        assertion =
          lib.length (lib.unique (lib.attrValues cfg.lanAddresses))
          == lib.length (lib.attrNames cfg.lanAddresses);
        message = "barnabee.standby.lanAddresses gives two hosts the same address; give each its own.";
      }
      {
        assertion = uplink != null;
        message = "barnabee.uplink is not set: name the interface of ${name} on the home network, which gets the virtual IP address.";
      }
    ]
    ++ lib.optionals (cfg.enable && lib.elem name cfg.members) [
      {
        assertion = lib.length (lib.unique (map addressOf cfg.members)) == lib.length cfg.members;
        message = "barnabee.network.addresses gives ${lib.concatStringsSep " and " cfg.members} the same address; a standby needs its own.";
      }
      {
        assertion = isStandby && !config.boot.isContainer -> network.interface != null;
        message = "barnabee.network.interface is not set: name the interface of ${name} that leads to ${lib.concatStringsSep ", " peers}.";
      }
      {
        assertion = lease.lease_s - lease.stop_s >= lease.renew_s + 3 * lease.request_limit_ms / 1000;
        message = "barnabee.system.standby.lease_s leaves no time for one failed renewal before writers must stop; raise it.";
      }
      {
        assertion = lease.stop_s > graph.service.litestream.stop_timeout_s;
        message = "barnabee.system.standby.stop_s must be above barnabee.system.service.litestream.stop_timeout_s, so that litestream can stop; raise it.";
      }
    ];
}
