# Alert delivery: real Prometheus and Alertmanager, and a node with a fake Home Assistant.
{
  self,
  inputs,
  pkgs,
}:
let
  machines = import ./machines.nix { inherit self; };
in
pkgs.testers.runNixOSTest {
  name = "alert-delivery";
  node.specialArgs = { inherit inputs; };
  nodes = {
    inherit (machines)
      backup
      gpu
      home
      monitoring
      ;
  };
  testScript = builtins.readFile ./alert-delivery.py;
}
