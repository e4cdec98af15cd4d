# Log pipeline: a line of a service reaches Loki through the journal and Alloy; `logcli` finds it by trace id.
{
  self,
  inputs,
  pkgs,
}:
let
  machines = import ./machines.nix { inherit self; };
  graph = builtins.fromTOML (builtins.readFile ../../system.toml);
  withAlloy =
    { lib, ... }:
    {
      services.alloy.enable = lib.mkOverride 40 true; # the other tests turn it off
    };
in
pkgs.testers.runNixOSTest {
  name = "log-query";
  node.specialArgs = { inherit inputs; };
  nodes = {
    inherit (machines) backup gpu;
    core.imports = [
      machines.core
      withAlloy
    ];
    monitoring =
      { lib, ... }:
      {
        imports = [
          machines.common
          withAlloy
        ];
        barnabee.name = "barnabee-monitoring";
        barnabee.secrets.unused = [
          "heartbeat_url"
          "home_assistant_webhook"
        ];
        services.grafana.enable = lib.mkForce false; # not tested
        environment.systemPackages = [ pkgs.grafana-loki ]; # logcli
        virtualisation.memorySize = 2048;
      };
  };
  # The limit of system.toml.
  testScript = ''
    LOG_QUERY_S = ${toString graph.acceptance.log_query_s}
    API_PORT = ${toString graph.service.api.port}
  ''
  + builtins.readFile ./log-query.py;
}
