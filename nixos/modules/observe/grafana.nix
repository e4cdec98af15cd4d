# Grafana with Prometheus and Loki as data sources; dashboards from nixos/monitoring/dashboards. The reverse proxy of
# the core host serves it at /grafana/.
{
  config,
  lib,
  barnabeeLib,
  lokiPort,
  ...
}:
let
  inherit (config.barnabee) secrets;
  address = barnabeeLib.hostAddress;
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
        server = {
          http_addr = address;
          domain = config.barnabee.proxy.hostName;
          root_url = "https://%(domain)s${config.barnabee.proxy.prefix}/grafana/";
          serve_from_sub_path = true;
        };
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
            # Link from a log line to all lines of its trace. Grafana's provisioning reads $$ as $.
            jsonData.derivedFields = [
              {
                name = "trace_id";
                matcherRegex = ''"trace_id":\s*"([0-9a-f]{32})"'';
                url = "/d/barnabee-logs?var-trace_id=$${__value.raw}";
                urlDisplayLabel = "Log lines of this trace";
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
    barnabee.network.rules = [
      {
        port = config.services.grafana.settings.server.http_port;
        from = barnabeeLib.graphLib.hostsWithRole barnabeeLib.graph "core";
      }
    ];
    systemd.services.grafana = {
      aliases = [ "barnabee-grafana.service" ];
      serviceConfig = barnabeeLib.privateNetworkOnly // {
        LoadCredential = map (name: "${name}:${secrets.fileOf name}") used;
      };
    };
  };
}
