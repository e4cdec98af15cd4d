# What the flake makes beside hosts, and what evaluation costs without us. Used by evaluate.nix.
{
  hosts,
  lib,
  nixpkgs,
  root,
  standIns,
}:
{
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

  # What pkgs/python/lock.nix makes of a requirements file: { name = file; }.
  wheels =
    file:
    let
      lock = import (root + "/pkgs/python/lock.nix") { inherit lib; };
      chosen = package: if package.wheel != null then package.wheel.file else package.source.file;
    in
    lib.genAttrs (lock.names (root + "/requirements/${file}")) (name: chosen lock.packages.${name});

  # What nixpkgs' names of Python packages stand for with the overlay: { name = version; }.
  versions =
    names:
    lib.genAttrs names (
      name:
      let
        package = hosts.barnabee-core.pkgs.python311Packages.${name};
      in
      builtins.seq package.drvPath package.version
    );

  # A VM test, as the driver that runs it.
  vm =
    name:
    let
      test = import (root + "/tests/vm/${name}.nix") {
        inputs.self.nixosConfigurations = hosts;
        self.nixosModules.house.imports = [
          (root + "/nixos/modules")
          standIns
        ];
        pkgs = import nixpkgs {
          system = "x86_64-linux";
          overlays = [ (import (root + "/pkgs")) ];
        };
      };
    in
    {
      inherit (test) drvPath;
      script = test.config.testScriptString;
      failed = lib.concatMap (
        node: map (one: one.message) (lib.filter (one: !one.assertion) node.assertions)
      ) (lib.attrValues test.nodes);
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
}
