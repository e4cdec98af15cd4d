# Prometheus: scrapes every service of the graph, every host and the blackbox probe of the reverse proxy;
# rules of nixos/monitoring/alerts and of system.toml (alerting.nix).
{
  config,
  lib,
  barnabeeLib,
  lokiPort,
  ...
}:
let
  inherit (barnabeeLib) graph graphLib;
  inherit (config.barnabee) network;
  inherit (config.services.prometheus) exporters;
  token = "metrics_token";
  interval = "15s";
  withAddress = lib.filter (host: network.addresses ? ${host});
  targetOn = host: port: {
    targets = [ "${network.addresses.${host}}:${toString port}" ];
    labels = { inherit host; };
  };
  serviceJob = service: {
    job_name = "barnabee-${service}";
    # Read at every scrape, so that the token may be replaced.
    authorization.credentials_file = "/run/barnabee-tokens/prometheus/${token}";
    static_configs = [
      {
        targets = [ "${barnabeeLib.addressOf service}:${toString graph.service.${service}.port}" ];
        labels = {
          component = service;
          host = graphLib.hostOf graph service;
        };
      }
    ];
  };
  hostJob = job_name: port: hosts: {
    inherit job_name;
    static_configs = map (host: targetOn host port) (withAddress hosts);
  };
  # Services with metrics.
  scrapedServices = lib.filter (service: graph.service.${service}.probe == "http") (
    lib.attrNames graph.service
  );
  thisHost = [ config.barnabee.name ];
  hostsWithRole = graphLib.hostsWithRole graph;
  proxyProbe = {
    job_name = "blackbox";
    metrics_path = "/probe";
    params = {
      module = [ "page" ];
      target = [ "https://${barnabeeLib.addressOf "api"}/health/live" ];
    };
    static_configs = [
      {
        targets = [ "127.0.0.1:${toString exporters.blackbox.port}" ];
        labels.host = graphLib.hostOf graph "api";
      }
    ];
  };
  folder = ../../monitoring/alerts;
in
{
  # A hypervisor that is not the gateway is a Proxmox node, which has no exporter of ours.
  options.barnabee.alerts.machines = lib.mkOption {
    type = lib.types.listOf lib.types.str;
    default = withAddress (
      lib.filter (host: host == network.gateway || graph.host.${host}.roles != [ "hypervisor" ]) (
        lib.attrNames graph.host
      )
    );
    defaultText = lib.literalMD "the gateway, and the hosts of `system.toml` that run services";
    description = "Hosts whose node exporter Prometheus scrapes, and for which HostDown fires.";
    example = [
      "beast"
      "barnabee-core"
    ];
  };

  config = lib.mkIf (lib.elem "monitoring" config.barnabee.roles) {
    services.prometheus = {
      enable = true;
      listenAddress = barnabeeLib.hostAddress;
      port = graph.companion.prometheus.port;
      retentionTime = "${toString graph.retention.metrics_days}d";
      checkConfig = "syntax-only"; # the token file exists only while the unit runs
      # Alerts sent before Alertmanager is discovered are lost; the default delay of 1 min is too long.
      extraFlags = [ "--rules.alert.resend-delay=${interval}" ];
      globalConfig = {
        scrape_interval = interval;
        evaluation_interval = interval;
      };
      ruleFiles = map (file: folder + "/${file}") (lib.attrNames (builtins.readDir folder)) ++ [
        "${config.barnabee.alerts.files}/limits.json"
      ];
      scrapeConfigs = map serviceJob scrapedServices ++ [
        (hostJob "prometheus" graph.companion.prometheus.port thisHost)
        (hostJob "alertmanager" graph.companion.alertmanager.port thisHost)
        (hostJob "loki" lokiPort thisHost)
        (hostJob "node" graph.companion.node.port config.barnabee.alerts.machines)
        (hostJob "redis" exporters.redis.port (hostsWithRole "core"))
        (hostJob "nginx" exporters.nginx.port (hostsWithRole "core"))
        (hostJob "nvidia" exporters.nvidia-gpu.port (hostsWithRole "gpu"))
        proxyProbe
      ];
      alertmanagers = [
        {
          static_configs = [
            { targets = [ "${barnabeeLib.hostAddress}:${toString graph.companion.alertmanager.port}" ]; }
          ];
        }
      ];
    };
    systemd.services.prometheus = {
      aliases = [ "barnabee-prometheus.service" ];
      wantedBy = [ "barnabee.target" ];
      after = [ "barnabee-tokens.service" ];
      wants = [ "barnabee-tokens.service" ];
      serviceConfig = barnabeeLib.privateNetworkOnly;
    };
  };
}
