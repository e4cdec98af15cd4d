# Prometheus: asks every service of the graph, every machine and the door; rules from
# nixos/monitoring/alerts and out of system.toml.
{
  config,
  lib,
  house,
  lokiPort,
  ...
}:
let
  inherit (house) graph graphs;
  inherit (config.barnabee) network secrets;
  inherit (config.services.prometheus) exporters;
  alerts = import ../../lib/alerts.nix { inherit lib; };
  token = "api_token";
  interval = "15s";
  placed = lib.filter (host: network.addresses ? ${host});
  at = host: port: labels: {
    targets = [ "${network.addresses.${host}}:${toString port}" ];
    labels = {
      inherit host;
    }
    // labels;
  };
  job = service: {
    job_name = "barnabee-${service}";
    # Its metrics are for whoever has the house's token.
    authorization.credentials_file = "/run/credentials/prometheus.service/${token}";
    static_configs = [
      {
        targets = [ "${house.addressOf service}:${toString graph.service.${service}.port}" ];
        labels = {
          component = service;
          host = graphs.hostOf graph service;
        };
      }
    ];
  };
  others = job_name: port: hosts: {
    inherit job_name;
    static_configs = map (host: at host port { }) (placed hosts);
  };
  here = [ config.barnabee.name ];
  role = graphs.hostsWith graph;
  door = {
    job_name = "door";
    metrics_path = "/probe";
    params = {
      module = [ "page" ];
      target = [ "https://${house.addressOf "api"}/health/live" ];
    };
    static_configs = [
      {
        targets = [ "127.0.0.1:${toString exporters.blackbox.port}" ];
        labels.host = graphs.hostOf graph "api";
      }
    ];
  };
  folder = ../../monitoring/alerts;
in
{
  # A hypervisor that only carries images has no exporter of ours: it counts when it is the gateway.
  options.barnabee.alerts.machines = lib.mkOption {
    type = lib.types.listOf lib.types.str;
    default = placed (
      lib.filter (host: host == network.gateway || graph.host.${host}.roles != [ "hypervisor" ]) (
        lib.attrNames graph.host
      )
    );
    defaultText = lib.literalMD "the gateway, and the hosts of `system.toml` that run services";
    description = "The machines that are asked how they are, and whose silence is told.";
    example = [
      "beast"
      "barnabee-core"
    ];
  };

  config = lib.mkIf (lib.elem "monitoring" config.barnabee.roles) {
    barnabee.secrets.needed = [ token ];
    services.prometheus = {
      enable = true;
      listenAddress = house.address;
      port = graph.companion.prometheus.port;
      retentionTime = "${toString graph.retention.metrics_days}d";
      checkConfig = "syntax-only"; # the token is a file of the running unit
      # What it sends before it has found Alertmanager is lost; by itself it says it again in a minute.
      extraFlags = [ "--rules.alert.resend-delay=${interval}" ];
      globalConfig = {
        scrape_interval = interval;
        evaluation_interval = interval;
      };
      rules = [ (builtins.toJSON (alerts.limits graph)) ];
      ruleFiles = map (file: folder + "/${file}") (lib.attrNames (builtins.readDir folder));
      scrapeConfigs = map job (alerts.asked graph) ++ [
        (others "prometheus" graph.companion.prometheus.port here)
        (others "alertmanager" graph.companion.alertmanager.port here)
        (others "loki" lokiPort here)
        (others "node" graph.companion.node.port config.barnabee.alerts.machines)
        (others "redis" exporters.redis.port (role "core"))
        (others "nginx" exporters.nginx.port (role "core"))
        (others "nvidia" exporters.nvidia-gpu.port (role "gpu"))
        door
      ];
      alertmanagers = [
        {
          static_configs = [
            { targets = [ "${house.address}:${toString graph.companion.alertmanager.port}" ]; }
          ];
        }
      ];
    };
    systemd.services.prometheus = {
      aliases = [ "barnabee-prometheus.service" ];
      wantedBy = [ "barnabee.target" ];
      serviceConfig = house.inside // {
        LoadCredential = lib.optional (secrets.fileOf token != null) "${token}:${secrets.fileOf token}";
      };
    };
  };
}
