# Who is where, and who may talk to whom: addresses on the private bridge, and a firewall that follows
# from the graph. A port is open to the machines that call it and to those that watch it, no further.
{ config, lib, ... }:
let
  graphs = import ../lib/system.nix;
  cfg = config.barnabee.network;
  graph = config.barnabee.system;
  inherit (config.barnabee) name roles;

  addressOf = host: cfg.addresses.${host};
  places = lib.filter (host: cfg.addresses ? ${host});
  monitors = graphs.hostsWith graph "monitoring";
  # The machine beneath asks its guests whether they are well.
  watchers = monitors ++ lib.optional (cfg.gateway != null) cfg.gateway;
  callers = service: lib.unique (graphs.callingHosts graph name service ++ watchers);

  # Redis has no password and is asked on its own machine alone.
  served = lib.filter (
    service: graph.service.${service}.port != null && graph.service.${service}.probe != "redis"
  ) (graphs.servicesOf graph roles);

  fromGraph = map (service: {
    inherit (graph.service.${service}) port;
    from = lib.filter (host: host != name) (callers service);
  }) served;

  rule =
    one:
    let
      from = lib.concatMapStringsSep ", " addressOf (places one.from);
    in
    "ip saddr { ${from} } tcp dport ${toString one.port} accept\n";
  # A stand-by is talked to once it serves; before, nothing listens.
  talks = lib.elem "core" roles || lib.elem "standby" roles;
  used = lib.filter (one: places one.from != [ ]) (fromGraph ++ cfg.rules);
in
{
  options.barnabee.uplink = lib.mkOption {
    type = lib.types.nullOr lib.types.str;
    default = null;
    description = "The interface towards the house's own network.";
    example = "enp5s0";
  };
  options.barnabee.network = {
    subnet = lib.mkOption {
      type = lib.types.str;
      default = "10.77.0.0/24";
      description = "The private network between the machines of the house.";
      example = "192.168.77.0/24";
    };
    addresses = lib.mkOption {
      type = lib.types.attrsOf lib.types.str;
      default = { };
      description = "The address of each host on the private network.";
      example = {
        barnabee-core = "10.77.0.12";
      };
    };
    services = lib.mkOption {
      type = lib.types.attrsOf lib.types.str;
      default = { };
      description = "Where a service is, when that is not the address of its host.";
      example = {
        gpu = "192.168.1.40";
      };
    };
    gateway = lib.mkOption {
      type = lib.types.nullOr lib.types.str;
      default = null;
      description = "The host whose bridge leads guests to the outside.";
      example = "beast";
    };
    link = lib.mkOption {
      type = lib.types.nullOr lib.types.str;
      default = null;
      description = "The interface of the private network, on a machine that is neither a guest nor their bridge.";
      example = "enp6s0";
    };
    public = {
      tcp = lib.mkOption {
        type = lib.types.listOf lib.types.port;
        default = [ ];
        description = "TCP ports of the machine that serves, which anybody in the house may reach.";
        example = [ 443 ];
      };
      udp = lib.mkOption {
        type = lib.types.listOf (lib.types.attrsOf lib.types.port);
        default = [ ];
        description = "Ranges of UDP ports that anybody in the house may reach (WebRTC media).";
        example = [
          {
            from = 10000;
            to = 10100;
          }
        ];
      };
    };
    rules = lib.mkOption {
      type = lib.types.listOf (
        lib.types.submodule {
          options = {
            port = lib.mkOption {
              type = lib.types.port;
              description = "The TCP port to open.";
              example = 9100;
            };
            from = lib.mkOption {
              type = lib.types.listOf lib.types.str;
              description = "The hosts that may use it.";
              example = [ "barnabee-monitoring" ];
            };
          };
        }
      );
      default = [ ];
      description = "Ports beyond those of the graph, and who may use them.";
      example = [
        {
          port = 9100;
          from = [ "barnabee-monitoring" ];
        }
      ];
    };
  };

  config = {
    barnabee.network.public = {
      tcp = [
        80
        443
      ]
      ++ lib.optional (graph.service ? voice) graph.service.voice.port;
      udp = lib.optional (graph ? talk) {
        from = graph.talk.media_port_first;
        to = graph.talk.media_port_last;
      };
    };

    networking = {
      nftables.enable = true;
      firewall = {
        enable = true;
        extraInputRules = lib.concatMapStrings rule used;
        allowedTCPPorts = lib.mkIf talks cfg.public.tcp;
        allowedUDPPortRanges = lib.mkIf talks cfg.public.udp;
      };
      interfaces = lib.mkIf (cfg.link != null) {
        ${cfg.link}.ipv4.addresses = [
          {
            address = addressOf name;
            prefixLength = 24;
          }
        ];
      };
      # Names for people and for certificates; services are told addresses.
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
