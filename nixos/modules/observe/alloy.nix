# Alloy: the journal of this machine, to Loki. Its configuration is nixos/monitoring/config.alloy.
{
  config,
  lib,
  house,
  lokiPort,
  ...
}:
let
  inherit (config.barnabee) name network;
  monitors = lib.filter (host: network.addresses ? ${host}) (
    house.graphs.hostsWith house.graph "monitoring"
  );
in
{
  config = lib.mkIf (config.barnabee.roles != [ ] && monitors != [ ]) {
    services.alloy = {
      enable = true;
      extraFlags = [ "--disable-reporting" ];
    };
    environment.etc."alloy/config.alloy".source = ../../monitoring/config.alloy;
    systemd.services.alloy = {
      aliases = [ "barnabee-alloy.service" ];
      environment = {
        BARNABEE_HOST = name;
        LOKI_URL = "http://${network.addresses.${lib.head monitors}}:${toString lokiPort}/loki/api/v1/push";
      };
    };
  };
}
