# Grafana: reads Prometheus and Loki; dashboards from nixos/monitoring/dashboards.
{
  config,
  lib,
  house,
  lokiPort,
  ...
}:
let
  inherit (config.barnabee) secrets;
  address = house.address;
  credentials = [
    "grafana_admin_password"
    "grafana_secret_key"
  ];
  used = lib.filter (credential: secrets.fileOf credential != null) credentials;
  folder = ../../monitoring/dashboards;
in
{
  config = lib.mkIf (lib.elem "monitoring" config.barnabee.roles) {
    barnabee.secrets.needed = credentials;
    services.grafana = {
      enable = true;
      settings = {
        server.http_addr = address;
        analytics.reporting_enabled = false;
        security = {
          admin_password = "$__file{/run/credentials/grafana.service/grafana_admin_password}";
          secret_key = "$__file{/run/credentials/grafana.service/grafana_secret_key}";
        };
      };
      provision = {
        enable = true;
        datasources.settings.datasources = [
          {
            name = "Prometheus";
            type = "prometheus";
            uid = "prometheus";
            url = "http://${address}:${toString config.services.prometheus.port}";
            isDefault = true;
          }
          {
            name = "Loki";
            type = "loki";
            uid = "loki";
            url = "http://${address}:${toString lokiPort}";
            # From any line to the whole way of its sentence. A dollar is doubled for Grafana's reader.
            jsonData.derivedFields = [
              {
                name = "trace_id";
                matcherRegex = ''"trace_id":\s*"([0-9a-f]{32})"'';
                url = "/d/barnabee-logs?var-trace_id=$${__value.raw}";
                urlDisplayLabel = "its whole way";
              }
            ];
          }
        ];
        dashboards.settings.providers = [
          {
            name = "BarnabeeNet";
            disableDeletion = true;
            options.path = folder;
          }
        ];
      };
    };
    systemd.services.grafana = {
      aliases = [ "barnabee-grafana.service" ];
      serviceConfig = house.inside // {
        LoadCredential = map (one: "${one}:${secrets.fileOf one}") used;
      };
    };
  };
}
