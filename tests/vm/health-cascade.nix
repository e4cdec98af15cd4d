# From power-on to the whole cascade well; then each service dies once, and the house is well again.
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
  # The promises stand in system.toml; the script takes them from here.
  testScript = ''
    HEALTHY_S = ${toString graph.acceptance.healthy_s}
    RECOVER_S = ${toString graph.acceptance.recover_s}
  ''
  + builtins.readFile ./health-cascade.py;
}
