# What machines, Redis, nginx and the card say of themselves, and the door as it is seen from outside.
# Each exporter is where what it asks is; monitoring may ask it, and nobody else.
{
  config,
  lib,
  pkgs,
  house,
  ...
}:
let
  inherit (config.barnabee) name network roles;
  inherit (house) graph;
  cfg = config.services.prometheus.exporters;
  address = house.address;
  placed = roles != [ ] && network.addresses ? ${name};
  on = role: placed && lib.elem role roles;
  asked = lib.filter (exporter: cfg.${exporter}.enable) [
    "node"
    "redis"
    "nginx"
    "nvidia-gpu"
  ];
  json = pkgs.formats.json { };
in
{
  config = lib.mkMerge [
    (lib.mkIf placed {
      services.prometheus.exporters.node = {
        enable = true;
        listenAddress = address;
        inherit (graph.companion.node) port;
        enabledCollectors = [ "systemd" ]; # units that failed, timers that did not run
      };
      barnabee.network.rules = map (exporter: {
        inherit (cfg.${exporter}) port;
        from = house.graphs.hostsWith graph "monitoring";
      }) asked;
    })

    (lib.mkIf (on "core") {
      services.prometheus.exporters.redis = {
        enable = true;
        listenAddress = address;
        extraFlags = [ "-redis.addr=redis://127.0.0.1:${toString graph.service.redis.port}" ];
      };
      services.nginx.statusPage = true; # on loopback alone
      services.prometheus.exporters.nginx = {
        enable = true;
        listenAddress = address;
      };
    })

    (lib.mkIf (on "gpu" && config.barnabee.gpu.card) {
      services.prometheus.exporters.nvidia-gpu = {
        enable = true;
        listenAddress = address;
      };
    })

    (lib.mkIf (on "monitoring") {
      services.prometheus.exporters.blackbox = {
        enable = true;
        listenAddress = "127.0.0.1";
        inherit (graph.companion.blackbox) port;
        # The certificate may be of an authority of one's own: its end is watched, not its maker.
        configFile = json.generate "blackbox.json" {
          modules.page = {
            prober = "http";
            timeout = "5s";
            http.tls_config.insecure_skip_verify = true;
          };
        };
      };
    })
  ];
}
