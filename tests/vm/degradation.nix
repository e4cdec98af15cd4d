# Degradation: without the gpu host, commands are still answered and services report degraded.
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
  name = "degradation";
  node.specialArgs = { inherit inputs; };
  nodes = { inherit (machines) backup core gpu; };
  testScript = ''
    TOKEN = "${machines.secret}"
    API_PORT = ${toString graph.service.api.port}
    VOICE_PORT = ${toString graph.service.voice.port}
    HEALTHY_S = ${toString graph.acceptance.healthy_s}
    DETECT_S = ${toString graph.acceptance.detect_failure_s}
    RECOVER_S = ${toString graph.acceptance.recover_s}
  ''
  + builtins.readFile ./degradation.py;
}
