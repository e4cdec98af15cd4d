# Addresses of the hosts on the private network, and the interfaces that lead to it.
{ config, lib, ... }:
let
  cfg = config.barnabee.network;
  inherit (config.barnabee) name;
in
{
  options.barnabee.uplink = lib.mkOption {
    type = lib.types.nullOr lib.types.str;
    default = null;
    description = "Network interface on the home network.";
    example = "enp5s0";
  };
  options.barnabee.network = {
    subnet = lib.mkOption {
      type = lib.types.str;
      default = "10.77.0.0/24";
      description = "Private network between the hosts of the deployment.";
      example = "192.168.77.0/24";
    };
    addresses = lib.mkOption {
      type = lib.types.attrsOf lib.types.str;
      default = { };
      description = "Address of each host on the private network.";
      example = {
        barnabee-core = "10.77.0.12";
      };
    };
    services = lib.mkOption {
      type = lib.types.attrsOf lib.types.str;
      default = { };
      description = "Address of a service that does not run at the address of its host.";
      example = {
        gpu = "192.168.1.40";
      };
    };
    gateway = lib.mkOption {
      type = lib.types.nullOr lib.types.str;
      default = null;
      description = "Host whose bridge connects the guests to other networks.";
      example = "beast";
    };
    interface = lib.mkOption {
      type = lib.types.nullOr lib.types.str;
      default = null;
      description = "Interface on the private network, for a host that is neither a guest nor the gateway.";
      example = "enp6s0";
    };
  };

  config = {
    networking = {
      interfaces = lib.mkIf (cfg.interface != null) {
        ${cfg.interface}.ipv4.addresses = [
          {
            address = cfg.addresses.${name};
            prefixLength = 24;
          }
        ];
      };
      # For people and certificates; services get addresses.
      hosts = lib.mapAttrs' (host: address: lib.nameValuePair address [ host ]) cfg.addresses;
    };

    assertions = [
      {
        assertion = cfg.addresses ? ${name};
        message = "barnabee.network.addresses has no address for ${name}; add one of ${cfg.subnet}.";
      }
    ];
  };
}
