# Only the declared ports answer: every machine is scanned from a stranger and from each other machine.
{
  self,
  inputs,
  pkgs,
}:
let
  inherit (pkgs) lib;
  machines = import ./machines.nix { inherit self; };
  graph = self.nixosConfigurations.barnabee-core.config.barnabee.system; # with its defaults
  graphs = import ../../nixos/lib/system.nix;
  portsOf =
    role:
    lib.filter (port: port != null) (
      map (name: graph.service.${name}.port) (
        lib.filter (name: graph.service.${name}.role == role) (lib.attrNames graph.service)
      )
    );
  # TCP ports that the graph lets `from` reach on the machine of `role`.
  reached =
    role: from:
    lib.filter (port: port != null) (
      map (name: graph.service.${name}.port) (
        lib.filter (
          name:
          graph.service.${name}.role == role
          && graph.service.${name}.probe != "redis"
          && lib.elem from (graphs.callingHosts graph "barnabee-${role}" name)
        ) (lib.attrNames graph.service)
      )
    );
  declared = {
    # What anybody in the house may reach, besides ssh where it runs.
    core.backup = [
      80
      443
      graph.service.voice.port
    ];
    gpu.backup = [ ];
    gpu.core = reached "gpu" "barnabee-core";
    core.gpu = declared.core.backup ++ reached "core" "barnabee-gpu";
  };
in
pkgs.testers.runNixOSTest {
  name = "network";
  node.specialArgs = { inherit inputs; };
  defaults.environment.systemPackages = [ pkgs.nmap ];
  nodes = { inherit (machines) backup core gpu; };
  testScript = ''
    import json
    DECLARED = json.loads('${builtins.toJSON declared}')
    SERVED = json.loads('${
      builtins.toJSON {
        core = portsOf "core";
        gpu = portsOf "gpu";
      }
    }')
    ANYBODY = ${toString graph.service.voice.port}
    GPU = ${toString graph.service.gpu.port}
    HEALTHY_S = ${toString graph.acceptance.healthy_s}
  ''
  + builtins.readFile ./network.py;
}
