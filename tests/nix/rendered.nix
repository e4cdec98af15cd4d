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
  # Prometheus' scrape jobs and rules; what the package needs to write Alertmanager's configuration.
  monitoring =
    name: extra:
    let
      inherit ((hosts.${name}.extendModules { modules = [ extra ]; })) config;
      inherit (config.services) prometheus;
    in
    {
      inherit (config.barnabee.alerts) channels;
      path = config.barnabee.alerts.files.outPath;
      build = config.barnabee.alerts.files.buildCommand;
      start = config.systemd.services.alertmanager.serviceConfig.ExecStart;
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

  # Configuration file of Prometheus.
  prometheusFile =
    (hosts.barnabee-monitoring.extendModules {
      modules = [
        {
          services.prometheus = {
            enableReload = true; # writes the configuration to /etc
            checkConfig = lib.mkForce false; # the test checks it
          };
        }
      ];
    }).config.environment.etc."prometheus/prometheus.yaml".source.value;

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

  # The guests as images for Proxmox.
  images = lib.mapAttrs (
    _: host:
    lib.mapAttrs (
      _:
      { config, ... }:
      {
        file = config.system.build.guestImage.fileName;
        image = config.system.build.guestImage.drvPath;
        name = config.networking.hostName;
        inherit (config.barnabee) roles;
        addresses = config.systemd.network.networks."10-proxmox".address or [ ];
        driver = config.barnabee.gpu.enable;
        services = lib.attrNames config.systemd.services;
        failed = map (check: check.message) (lib.filter (check: !check.assertion) config.assertions);
      }
    ) { inherit (host) lxc vm; }
  ) (lib.filterAttrs (_: host: host ? lxc) hosts);
}
