# Blackbox exporter: opens the page through the reverse proxy, as a browser does, for Prometheus.
{
  config,
  lib,
  pkgs,
  barnabeeLib,
  ...
}:
{
  config = lib.mkIf (lib.elem "monitoring" config.barnabee.roles) {
    services.prometheus.exporters.blackbox = {
      enable = true;
      listenAddress = "127.0.0.1";
      inherit (barnabeeLib.graph.companion.blackbox) port;
      # The certificate may be self-signed: its expiry is monitored, not its issuer.
      configFile = (pkgs.formats.json { }).generate "blackbox.json" {
        modules.page = {
          prober = "http";
          timeout = "5s";
          http.tls_config.insecure_skip_verify = true;
        };
      };
    };
  };
}
