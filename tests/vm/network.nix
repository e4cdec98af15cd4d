# Firewall: only the declared ports answer, scanned from an unknown host and from each other host.
{
  self,
  inputs,
  pkgs,
}:
let
  inherit (pkgs) lib;
  machines = import ./machines.nix { inherit self; };
  graph = self.nixosConfigurations.barnabee-core.config.barnabee.system; # with defaults
  graphLib = import ../../nixos/lib/system.nix;
  portsOf =
    role:
    lib.filter (port: port != null) (
      map (name: graph.service.${name}.port) (
        lib.filter (name: graph.service.${name}.role == role) (lib.attrNames graph.service)
      )
    );
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
    lib.filter (port: port != null) (
      map (name: graph.service.${name}.port) (
        lib.filter (
          name:
          graph.service.${name}.role == role
          && graph.service.${name}.probe != "redis"
          && lib.elem from (graphLib.callingHosts graph "barnabee-${role}" name)
        ) (lib.attrNames graph.service)
      )
    );
  declared = {
    # Open to the home network.
    core.backup = [
      80
      443
    ];
    gpu.backup = [ ];
    gpu.core = openTo "gpu" "barnabee-core";
    core.gpu = declared.core.backup ++ openTo "core" "barnabee-gpu";
  };
in
pkgs.testers.runNixOSTest {
  name = "network";
  node.specialArgs = { inherit inputs; };
  defaults.environment.systemPackages = [ pkgs.nmap ];
  nodes = { inherit (machines) backup core gpu; };
  testScript =
    { nodes, ... }:
    ''
      import json
      DECLARED = json.loads('${builtins.toJSON declared}')
      SERVED = json.loads('${
        builtins.toJSON {
          core = portsOf "core" ++ exporterPorts nodes.core;
          gpu = portsOf "gpu" ++ exporterPorts nodes.gpu;
        }
      }')
      GPU_PORT = ${toString graph.service.gpu.port}
      HEALTHY_S = ${toString graph.acceptance.healthy_s}
    ''
    + builtins.readFile ./network.py;
}
