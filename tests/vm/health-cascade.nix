# Health cascade: from power-on to all services healthy; then each service is killed once and recovers.
{
  self,
  inputs,
  pkgs,
}:
let
  machines = import ./machines.nix { inherit self; };
  graph = builtins.fromTOML (builtins.readFile ../../system.toml);
in
pkgs.testers.runNixOSTest {
  name = "health-cascade";
  node.specialArgs = { inherit inputs; };
  nodes = { inherit (machines) backup core gpu; };
  # The limits of system.toml.
  testScript = ''
    HEALTHY_S = ${toString graph.acceptance.healthy_s}
    RECOVER_S = ${toString graph.acceptance.recover_s}
  ''
  + builtins.readFile ./health-cascade.py;
}
