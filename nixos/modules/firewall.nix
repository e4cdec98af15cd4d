# Firewall rules from the service graph: a port is open to the hosts that call the service and to those
# that monitor it.
{ config, lib, ... }:
let
  graphLib = import ../lib/system.nix;
  cfg = config.barnabee.network;
  graph = config.barnabee.system;
  inherit (config.barnabee) name roles;

  withAddress = lib.filter (host: cfg.addresses ? ${host});
  # The gateway runs the health checks of its guests.
  monitors =
    graphLib.hostsWithRole graph "monitoring" ++ lib.optional (cfg.gateway != null) cfg.gateway;
  callers = service: lib.unique (graphLib.callingHosts graph name service ++ monitors);

  # Not Redis: it serves its own host only.
  served = lib.filter (
    service: graph.service.${service}.port != null && graph.service.${service}.probe != "redis"
  ) (graphLib.servicesOf graph roles);

  graphRules = map (service: {
    inherit (graph.service.${service}) port;
    from = lib.filter (host: host != name) (callers service);
  }) served;

  nftablesRule =
    rule:
    let
      from = lib.concatMapStringsSep ", " (host: cfg.addresses.${host}) (withAddress rule.from);
    in
    "ip saddr { ${from} } tcp dport ${toString rule.port} accept\n";
  rules = lib.filter (rule: withAddress rule.from != [ ]) (graphRules ++ cfg.rules);
  # A standby too: it listens on these ports only after a promotion.
  servesClients = lib.elem "core" roles || lib.elem "standby" roles;
in
{
  config = {
    barnabee.network.public = {
      # The reverse proxy; WebRTC media alone passes beside it.
      tcp = [
        80
        443
      ];
      udp = lib.optional (graph ? talk) {
        from = graph.talk.media_port_first;
        to = graph.talk.media_port_last;
      };
    };

    networking = {
      nftables.enable = true;
      firewall = {
        enable = true;
        extraInputRules = lib.concatMapStrings nftablesRule rules;
        allowedTCPPorts = lib.mkIf servesClients cfg.public.tcp;
        allowedUDPPortRanges = lib.mkIf servesClients cfg.public.udp;
      };
    };
  };
}
