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
  lokiUrl = "http://${network.addresses.${lib.head monitors}}:${toString lokiPort}";
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
        LOKI_URL = lokiUrl;
      };
      serviceConfig = house.inside;
    };
    # `barnabee logs`, `trace` and `accept` ask there, whoever runs them.
    barnabee.settings.LOKI_URL = lib.mkDefault lokiUrl;
    environment.variables.LOKI_URL = lokiUrl;
  };
}
