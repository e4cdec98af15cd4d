# Configuration files of hosts and images, as text. Used by evaluate.nix.
{
  hosts,
  lib,
  root,
}:
let
  # Text of a file in /etc that a derivation writes, on a host with an additional module.
  etc =
    name: extra: file:
    (hosts.${name}.extendModules { modules = [ extra ]; }).config.environment.etc.${file}.source.text;
in
{
  # Configuration of Prometheus and Alertmanager as options.
  monitoring =
    name: extra:
    let
      inherit ((hosts.${name}.extendModules { modules = [ extra ]; }).config.services) prometheus;
    in
    {
      limits = builtins.fromJSON (lib.head prometheus.rules);
      alertmanager = prometheus.alertmanager.configuration;
      jobs = map (
        job:
        lib.filterAttrs (key: value: value != null) {
          inherit (job) job_name metrics_path params;
          authorization =
            if job.authorization == null then null else { inherit (job.authorization) credentials_file; };
          static_configs = map (target: { inherit (target) targets labels; }) job.static_configs;
        }
      ) prometheus.scrapeConfigs;
      ruleFiles = map baseNameOf prometheus.ruleFiles;
    };

  # Configuration files of Prometheus and Alertmanager.
  monitoringFiles =
    let
      host = hosts.barnabee-monitoring.extendModules {
        modules = [
          {
            services.prometheus = {
              enableReload = true; # writes the configuration to /etc
              checkConfig = lib.mkForce false; # the test checks it
            };
          }
        ];
      };
    in
    {
      prometheus = host.config.environment.etc."prometheus/prometheus.yaml".source.value;
      alertmanager = host.config.services.prometheus.alertmanager.configuration;
    };

  # Container images, and the configuration of the one with nginx.
  oci =
    let
      made = import (root + "/pkgs/images/oci.nix") {
        inherit lib;
        inherit (hosts.barnabee-core) pkgs;
        core = hosts.barnabee-core;
      };
    in
    {
      nginx = {
        compose = made.nginx.text;
        core = etc "barnabee-core" { services.nginx.enableReload = true; } "nginx/nginx.conf";
        behindAnother = etc "barnabee-core" {
          services.nginx.enableReload = true;
          barnabee.proxy = {
            prefix = "/barnabee";
            trustedProxies = [ "192.168.1.5" ];
          };
        } "nginx/nginx.conf";
      };
      names = lib.mapAttrs (_: image: "${image.imageName}:${image.imageTag}") made.images;
      drvs = lib.mapAttrs (_: image: image.drvPath) made.images;
    };

  proxmox = hosts.battleserver.config.system.build.proxmoxFiles;
}
