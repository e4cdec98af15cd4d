# The hosts with nothing but a nixpkgs: sops-nix, disko and microvm.nix are stood in for by options
# that take anything. Evaluated by tests/nix; builds and fetches nothing.
{ nixpkgs }:
let
  root = ../..;
  lib = import (nixpkgs + "/lib");
  anything = lib.mkOption {
    type = lib.types.attrsOf lib.types.anything;
    default = { };
  };
  standIns = {
    options = {
      disko = anything;
      sops = lib.mkOption {
        type = lib.types.submodule {
          freeformType = lib.types.attrsOf lib.types.anything;
          options.secrets = lib.mkOption {
            default = { };
            type = lib.types.attrsOf (
              lib.types.submodule (
                { name, ... }:
                {
                  options.path = lib.mkOption {
                    type = lib.types.str;
                    default = "/run/secrets/${name}";
                  };
                }
              )
            );
          };
        };
        default = { };
      };
    };
  };
  microvm.options.microvm = anything;
  # What disko and microvm.nix would say of disks.
  disks =
    { config, ... }:
    {
      config = lib.mkIf (!config.boot.isContainer) {
        fileSystems."/" = {
          device = "/dev/disk/by-label/nixos";
          fsType = "ext4";
        };
        boot.loader.grub.enable = false;
      };
    };

  system =
    modules:
    import (nixpkgs + "/nixos/lib/eval-config.nix") {
      system = null;
      specialArgs.inputs = {
        self.nixosConfigurations = hosts;
        microvm.nixosModules = {
          host = microvm;
          microvm = microvm;
        };
      };
      modules = [
        (root + "/nixos/modules")
        standIns
        disks
        { nixpkgs.overlays = [ (import (root + "/pkgs")) ]; }
      ]
      ++ modules;
    };
  hosts = import (root + "/nixos/lib/machines.nix") {
    inherit lib;
    evaluate = system;
  };

  failed = host: map (one: one.message) (lib.filter (one: !one.assertion) host.config.assertions);
  ours = lib.filterAttrs (name: _: lib.hasPrefix "barnabee" name);
  # The text of a file of /etc that a derivation writes, on a host with a module more.
  etc =
    name: extra: file:
    (hosts.${name}.extendModules { modules = [ extra ]; }).config.environment.etc.${file}.source.text;
  documented =
    host:
    lib.filter (option: option.visible && !option.internal) (
      lib.optionAttrSetToDocList { inherit (host.options) barnabee; }
    );
in
{
  inherit hosts;
  names = lib.attrNames hosts;

  # What a host is; `extra` is a module more.
  report =
    name: extra:
    let
      host = if extra == { } then hosts.${name} else hosts.${name}.extendModules { modules = [ extra ]; };
    in
    {
      failed = failed host;
      inherit (host.config) warnings;
      toplevel = host.config.system.build.toplevel.drvPath;
      services = lib.attrNames (ours host.config.systemd.services);
      units = lib.mapAttrs (_: unit: unit.text) (ours host.config.systemd.units);
      known = lib.attrNames host.config.systemd.units;
      wantedBy = lib.mapAttrs (_: unit: unit.wantedBy) (ours host.config.systemd.units);
      folders = lib.filter (lib.hasInfix " ${host.config.barnabee.dataDir} ") (
        host.config.systemd.tmpfiles.rules
      );
      written = (import (root + "/nixos/lib/system.nix")).toTOML host.config.barnabee.system;
      firewall = {
        rules = host.config.networking.firewall.extraInputRules;
        tcp = host.config.networking.firewall.allowedTCPPorts;
      };
      # What a hypervisor hands to each guest: { guest = { secret = where it is told; }; }
      passed = lib.mapAttrs (
        guest: _:
        lib.genAttrs hosts.${guest}.config.barnabee.secrets.used (
          secret:
          toString (
            lib.filter (lib.hasInfix "${secret}:") (
              (host.config.containers.${guest}.extraFlags or [ ])
              ++ (host.config.systemd.services."microvm@${guest}".serviceConfig.LoadCredential or [ ])
            )
          )
        )
      ) (host.config.barnabee.guests or { });
      kernel = host.config.boot.kernelParams;
      # What `barnabee switch` reads of the system.
      facts = host.config.environment.etc."barnabee/deploy.json".text or "null";
      bootCounting = host.config.boot.loader.systemd-boot.bootCounting or null;
    };

  # What Prometheus and Alertmanager of a host read.
  watching =
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
          static_configs = map (one: { inherit (one) targets labels; }) job.static_configs;
        }
      ) prometheus.scrapeConfigs;
      ruleFiles = map baseNameOf prometheus.ruleFiles;
    };

  # A container of NixOS with the services that barnabee-core has of nixpkgs, and nothing of ours: what
  # evaluation costs without us.
  bare =
    (import (nixpkgs + "/nixos/lib/eval-config.nix") {
      system = null;
      modules = [
        {
          nixpkgs.hostPlatform = "x86_64-linux";
          boot.isContainer = true;
          system.stateVersion = "26.05";
          documentation.enable = false;
          networking.nftables.enable = true;
          services = {
            alloy.enable = true;
            nginx = {
              enable = true;
              virtualHosts.house.locations."/".proxyPass = "http://127.0.0.1:8000";
            };
            openssh.enable = true;
            prometheus.exporters.node.enable = true;
            redis.servers.house.enable = true;
          };
        }
      ];
    }).config.system.build.toplevel.drvPath;

  # Import from derivation is refused while these tests evaluate: this is how that is known.
  builds = import (hosts.barnabee-core.pkgs.writeText "one.nix" "1");

  # The failed assertions of a host with a module more.
  messages = name: extra: failed (hosts.${name}.extendModules { modules = [ extra ]; });

  options = map (option: {
    inherit (option) name;
    description = option ? description;
    example = option ? example;
    type = option ? type;
  }) (documented hosts.beast);

  optionsText = import (root + "/pkgs/options.nix") {
    inherit lib;
    inherit (hosts.beast) options;
  };

  # What pkgs/python/lock.nix makes of a requirements file: { name = file; }.
  wheels =
    file:
    let
      lock = import (root + "/pkgs/python/lock.nix") { inherit lib; };
      chosen = package: if package.wheel != null then package.wheel.file else package.source.file;
    in
    lib.genAttrs (lock.names (root + "/requirements/${file}")) (name: chosen lock.packages.${name});

  # The container images, and the configuration of the one with nginx.
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
      };
      names = lib.mapAttrs (_: image: "${image.imageName}:${image.imageTag}") made.images;
      drvs = lib.mapAttrs (_: image: image.drvPath) made.images;
    };

  # A VM test, as the driver that runs it.
  vm =
    name:
    let
      test = import (root + "/tests/vm/${name}.nix") {
        inputs.self.nixosConfigurations = hosts;
        self.nixosModules.default.imports = [
          (root + "/nixos/modules")
          standIns
          { nixpkgs.overlays = [ (import (root + "/pkgs")) ]; }
        ];
        pkgs = import nixpkgs {
          system = "x86_64-linux";
          overlays = [ (import (root + "/pkgs")) ];
        };
      };
    in
    {
      inherit (test) drvPath;
      script = test.testScript;
      failed = lib.concatMap (node: map (one: one.message) (lib.filter (one: !one.assertion) node.assertions)) (
        lib.attrValues test.nodes
      );
    };

  apps = lib.mapAttrs (_: one: one.program) (
    import (root + "/pkgs/apps.nix") {
      inherit lib;
      pkgs = import nixpkgs {
        system = "x86_64-linux";
        overlays = [ (import (root + "/pkgs")) ];
      };
    }
  );

  proxmox = hosts.battleserver.config.system.build.proxmoxFiles;
}
