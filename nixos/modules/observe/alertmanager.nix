# Alertmanager: to Home Assistant's webhook, whose address is a secret.
{
  config,
  lib,
  house,
  ...
}:
let
  inherit (config.barnabee) secrets;
  webhook = secrets.fileOf "home_assistant_webhook";
in
{
  config = lib.mkIf (lib.elem "monitoring" config.barnabee.roles) {
    barnabee.secrets.needed = [ "home_assistant_webhook" ];
    services.prometheus.alertmanager = {
      enable = true;
      listenAddress = house.address;
      extraFlags = [ "--cluster.listen-address=" ]; # one of it: no gossip port
      configuration = {
        route = {
          receiver = "home-assistant";
          group_by = [ "alertname" ];
          group_wait = "10s";
          repeat_interval = "4h";
        };
        receivers = [
          {
            name = "home-assistant";
            webhook_configs = lib.optional (webhook != null) {
              url_file = "/run/credentials/alertmanager.service/home_assistant_webhook";
              send_resolved = true;
            };
          }
        ];
      };
    };
    # `barnabee accept` and `barnabee alert` of the other machines.
    barnabee.network.rules = [
      {
        inherit (config.services.prometheus.alertmanager) port;
        from = house.graphs.hostsWith house.graph "core";
      }
    ];
    systemd.services.alertmanager = {
      aliases = [ "barnabee-alertmanager.service" ];
      wantedBy = [ "barnabee.target" ];
      serviceConfig.LoadCredential = lib.optional (
        webhook != null
      ) "home_assistant_webhook:${webhook}";
    };
  };
}
