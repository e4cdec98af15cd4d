# The two machines of a house with a stand-by: which they are, where, and what must be true of them.
{
  config,
  lib,
  house,
  ...
}:
let
  inherit (house) graph graphs;
  cfg = config.barnabee.standby;
  inherit (config.barnabee) name network uplink;
  table = graph.standby;
  primaries = graphs.hostsWith graph "core";
  carriers = [ cfg.carrier ] ++ cfg.waiting;
  plain = lib.head (lib.splitString "/" (toString cfg.address));
  shared = lib.filter (host: cfg.lan.${host} == plain) (lib.attrNames cfg.lan);
  without = lib.filter (host: !(cfg.lan ? ${host})) carriers;
  waits = lib.elem name cfg.waiting;
  others = lib.filter (host: host != name) cfg.parties;
  addressOf = host: network.addresses.${host} or "${host}.invalid";
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

  config.assertions =
    lib.optionals (cfg.enable && lib.elem name carriers) [
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
    ]
    ++ lib.optionals (cfg.enable && lib.elem name cfg.parties) [
      {
        assertion = lib.length (lib.unique (map addressOf cfg.parties)) == lib.length cfg.parties;
        message = "barnabee.network.addresses makes the stand-by equal to the primary: ${lib.concatStringsSep " and " cfg.parties} have the same address; give each its own.";
      }
      {
        assertion = waits && !config.boot.isContainer -> network.link != null;
        message = "barnabee.network.link is not set: name the interface of ${name} that leads to ${lib.concatStringsSep ", " others}.";
      }
      {
        assertion = table.lease_s - table.stop_s >= table.renew_s + 3 * table.request_limit_ms / 1000;
        message = "barnabee.system.standby.lease_s leaves no time for a renewal that fails once before writing must stop; raise it.";
      }
      {
        assertion = table.stop_s > graph.service.litestream.stop_timeout_s;
        message = "barnabee.system.standby.stop_s is not above barnabee.system.service.litestream.stop_timeout_s, which it must see through; raise it.";
      }
    ];
}
