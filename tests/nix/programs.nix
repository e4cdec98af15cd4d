# Outputs of the flake besides hosts, and a baseline of the evaluation time. Used by evaluate.nix.
{
  hosts,
  lib,
  nixpkgs,
  root,
}:
{
  # A NixOS container with the nixpkgs services of barnabee-core and none of BarnabeeNet: the baseline of
  # the evaluation time.
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
              virtualHosts.barnabee.locations."/".proxyPass = "http://127.0.0.1:8000";
            };
            openssh.enable = true;
            prometheus.exporters.node.enable = true;
            redis.servers.barnabee.enable = true;
          };
        }
      ];
    }).config.system.build.toplevel.drvPath;

  # Import from derivation, which these tests disable.
  builds = import (hosts.barnabee-core.pkgs.writeText "one.nix" "1");

  # Files that pkgs/python/lock.nix selects for a requirements file: { name = file; }.
  wheels =
    file:
    let
      lock = import (root + "/pkgs/python/lock.nix") { inherit lib; };
      chosen = package: if package.wheel != null then package.wheel.file else package.source.file;
    in
    lib.genAttrs (lock.names (root + "/requirements/${file}")) (name: chosen lock.packages.${name});

  # Versions of nixpkgs' Python packages with the overlay: { name = version; }.
  versions =
    names:
    lib.genAttrs names (
      name:
      let
        package = hosts.barnabee-core.pkgs.python311Packages.${name};
      in
      builtins.seq package.drvPath package.version
    );

  apps = lib.mapAttrs (_: app: app.program) (
    import (root + "/pkgs/apps.nix") {
      inherit lib;
      pkgs = import nixpkgs {
        system = "x86_64-linux";
        overlays = [ (import (root + "/pkgs")) ];
      };
    }
  );
}
