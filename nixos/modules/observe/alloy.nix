# Grafana Alloy: sends this host's journal to Loki, configured by nixos/monitoring/config.alloy.
{
  config,
  lib,
  barnabeeLib,
  lokiPort,
  ...
}:
let
  inherit (config.barnabee) name;
  inherit (barnabeeLib) monitors;
  lokiUrl = "http://${barnabeeLib.addressOfHost (lib.head monitors)}:${toString lokiPort}";
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
      serviceConfig = barnabeeLib.privateNetworkOnly;
    };
    # For the services, and for `barnabee logs`, `trace` and `accept` in a shell.
    barnabee.settings.LOKI_URL = lib.mkDefault lokiUrl;
    environment.variables.LOKI_URL = lokiUrl;
  };
}
