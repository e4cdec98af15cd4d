# Firewall: only the declared ports answer, scanned from an unknown host and from each other host.
{
  lib,
  machines,
  pkgs,
  self,
  ...
}:
let
  graph = self.nixosConfigurations.barnabee-core.config.barnabee.system; # with defaults
  graphLib = import ../../nixos/lib/system.nix;
  portsOf =
    names: lib.filter (port: port != null) (map (name: graph.service.${name}.port) names);
  withRole = role: lib.filter (name: graph.service.${name}.role == role) (lib.attrNames graph.service);
  exporterPorts =
    node:
    map (exporter: exporter.port) (
      lib.filter (exporter: exporter.enable) (
        lib.attrVals [
          "node"
          "redis"
          "nginx"
          "nvidia-gpu"
        ] node.services.prometheus.exporters
      )
    );
  # TCP ports of the host of `role` that the graph opens to the host `from`.
  openTo =
    role: from:
    portsOf (
      lib.filter (
        name:
        graph.service.${name}.probe != "redis"
        && lib.elem from (graphLib.callingHosts graph "barnabee-${role}" name)
      ) (withRole role)
    );
  public = [
    80
    443
  ];
in
{
  machines = lib.mapAttrs (_: machine: {
    imports = [ machine ];
    environment.systemPackages = [ pkgs.nmap ];
  }) { inherit (machines) backup core gpu; };

  constants = evaluated: {
    # By the host that is scanned and the one that scans.
    DECLARED = {
      core.backup = public;
      core.gpu = public ++ openTo "core" "barnabee-gpu";
      gpu.backup = [ ];
      gpu.core = openTo "gpu" "barnabee-core";
    };
    SERVED = {
      core = public ++ portsOf (withRole "core") ++ exporterPorts evaluated.core;
      gpu = portsOf (withRole "gpu") ++ exporterPorts evaluated.gpu;
    };
  };
}
