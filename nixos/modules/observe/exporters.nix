# Prometheus exporters of hosts, Redis, nginx and the GPU.
# Only the monitoring host may connect to them.
{
  config,
  lib,
  barnabeeLib,
  ...
}:
let
  inherit (config.barnabee) name network roles;
  inherit (barnabeeLib) graph;
  cfg = config.services.prometheus.exporters;
  address = barnabeeLib.hostAddress;
  hasAddress = roles != [ ] && network.addresses ? ${name};
  hasRole = role: hasAddress && lib.elem role roles;
  exporters = lib.filter (exporter: cfg.${exporter}.enable) [
    "node"
    "redis"
    "nginx"
    "nvidia-gpu"
  ];
in
{
  config = lib.mkMerge [
    (lib.mkIf hasAddress {
      services.prometheus.exporters.node = {
        enable = true;
        listenAddress = address;
        inherit (graph.companion.node) port;
        enabledCollectors = [ "systemd" ]; # failed units, missed timers
      };
      barnabee.network.rules = map (exporter: {
        inherit (cfg.${exporter}) port;
        from = barnabeeLib.graphLib.hostsWithRole graph "monitoring";
      }) exporters;
    })

    (lib.mkIf (hasRole "core") {
      services.prometheus.exporters.redis = {
        enable = true;
        listenAddress = address;
        extraFlags = [
          "-redis.addr=redis://127.0.0.1:${toString graph.service.redis.port}"
          "-redis.user=exporter"
          "-redis.password-file=%d/passwords"
          # Its user may neither read the configuration nor name the connection.
          "-config-command=-"
          "-set-client-name=false"
        ];
      };
      systemd.services.prometheus-redis-exporter = {
        after = [ "barnabee-redis-passwords.service" ];
        wants = [ "barnabee-redis-passwords.service" ];
        serviceConfig.LoadCredential = [ "passwords:/run/barnabee-redis-passwords/exporter.json" ];
      };
      services.nginx.statusPage = true; # on loopback only
      services.prometheus.exporters.nginx = {
        enable = true;
        listenAddress = address;
      };
    })

    (lib.mkIf (hasRole "gpu" && config.barnabee.gpu.enable) {
      services.prometheus.exporters.nvidia-gpu = {
        enable = true;
        listenAddress = address;
      };
    })
  ];
}
