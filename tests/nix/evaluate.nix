# All hosts, evaluated with nixpkgs only: options of any type replace sops-nix, disko and microvm.nix.
# Used by tests/nix; builds and fetches nothing.
{ nixpkgs }:
let
  root = ../..;
  lib = import (nixpkgs + "/lib");
  anything = lib.mkOption {
    type = lib.types.attrsOf lib.types.anything;
    default = { };
  };
  stubModules = {
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
  # File systems that disko and microvm.nix would define.
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

  pkgs = import nixpkgs {
    system = "x86_64-linux";
    overlays = [ (import (root + "/pkgs")) ];
    config.allowUnfreePredicate = import (root + "/pkgs/unfree.nix") { inherit lib; };
  };

  system =
    modules:
    import (nixpkgs + "/nixos/lib/eval-config.nix") {
      system = null;
      specialArgs.inputs = {
        self.nixosConfigurations = hosts;
        nixos-generators.nixosModules = import ./image-formats.nix { inherit lib nixpkgs pkgs; };
        microvm.nixosModules = {
          host = microvm;
          microvm = microvm;
        };
      };
      modules = [
        (root + "/nixos/modules")
        stubModules
        disks
        (nixpkgs + "/nixos/modules/misc/nixpkgs/read-only.nix")
        { nixpkgs = { inherit pkgs; }; }
      ]
      ++ modules;
    };
  hosts = import (root + "/nixos/lib/machines.nix") {
    inherit lib;
    evaluate = { modules, ... }: system modules;
  };

  failed =
    host: map (failure: failure.message) (lib.filter (check: !check.assertion) host.config.assertions);
  ours = lib.filterAttrs (name: _: lib.hasPrefix "barnabee" name);
  documented =
    host:
    lib.filter (option: option.visible && !option.internal) (
      lib.optionAttrSetToDocList { inherit (host.options) barnabee; }
    );
in
{
  inherit hosts;
  # A host from other modules than those of hosts/.
  make = system;
  names = lib.attrNames hosts;

  # Properties of a host; `extra` is an additional module.
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
      folders = lib.filter (
        rule:
        lib.hasInfix " ${host.config.barnabee.dataDir} " rule || lib.hasInfix " /run/barnabee-tokens" rule
      ) host.config.systemd.tmpfiles.rules;
      written = (import (root + "/nixos/lib/system.nix")).toTOML host.config.barnabee.system;
      firewall = {
        rules = host.config.networking.firewall.extraInputRules;
        tcp = host.config.networking.firewall.allowedTCPPorts;
      };
      # Credentials that a hypervisor passes to each guest: { guest = { secret = options; }; }
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
      # Input of `barnabee switch`.
      facts = host.config.environment.etc."barnabee/deploy.json".text or "null";
      bootCounting = host.config.boot.loader.systemd-boot.bootCounting or null;
    };

  # A check of tests/vm.
  check =
    name:
    let
      test =
        (import (root + "/tests/vm") {
          inputs = {
            self.nixosConfigurations = hosts;
            microvm.nixosModules = { inherit microvm; };
          };
          self = {
            nixosConfigurations = hosts;
            overlays.default = import (root + "/pkgs");
            nixosModules.barnabee.imports = [
              (root + "/nixos/modules")
              stubModules
            ];
          };
          inherit pkgs;
        }).${name};
    in
    {
      inherit (test) drvPath;
      inherit (test.config.driverConfiguration) vms containers;
      script = test.config.testScriptString;
      failed = lib.concatMap failed (
        map (config: { inherit config; }) (lib.attrValues test.config.allMachines)
      );
    };

  # Failed assertions of a host with an additional module.
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
}
// import ./rendered.nix { inherit hosts lib root; }
// import ./programs.nix {
  inherit
    hosts
    lib
    nixpkgs
    root
    ;
}
