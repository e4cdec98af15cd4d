# Prometheus: asks every service of the graph and every machine; rules from nixos/monitoring/alerts.
{
  config,
  lib,
  house,
  ...
}:
let
  inherit (house) graph graphs;
  inherit (config.barnabee) name network;
  inherit (config.services.prometheus) exporters alertmanager;
  scraped = lib.filter (
    service: graph.service.${service}.probe == "http" && graphs.hostOf graph service != null
  ) (lib.attrNames graph.service);
  job = service: {
    job_name = "barnabee-${service}";
    static_configs = [
      {
        targets = [ "${house.addressOf service}:${toString graph.service.${service}.port}" ];
        labels.component = service;
      }
    ];
  };
  machines = lib.filter (host: network.addresses ? ${host}) (lib.attrNames graph.host);
  folder = ../../monitoring/alerts;
  rules = lib.optionals (builtins.pathExists folder) (
    map (file: folder + "/${file}") (
      lib.filter (lib.hasSuffix ".yml") (lib.attrNames (builtins.readDir folder))
    )
  );
in
{
  config = lib.mkIf (lib.elem "monitoring" config.barnabee.roles) {
    services.prometheus = {
      enable = true;
      listenAddress = house.address;
      retentionTime = "${toString graph.retention.metrics_days}d";
      globalConfig = {
        scrape_interval = "15s";
        evaluation_interval = "15s";
      };
      ruleFiles = rules;
      scrapeConfigs = map job scraped ++ [
        {
          job_name = "node";
          static_configs = map (host: {
            targets = [ "${network.addresses.${host}}:${toString exporters.node.port}" ];
            labels = { inherit host; };
          }) machines;
        }
      ];
      alertmanagers = [
        {
          static_configs = [
            { targets = [ "${house.address}:${toString alertmanager.port}" ]; }
          ];
        }
      ];
    };
    systemd.services.prometheus = {
      aliases = [ "barnabee-prometheus.service" ];
      wantedBy = [ "barnabee.target" ];
      serviceConfig = house.inside;
    };
  };
}
