# A line of a service reaches Loki by way of the journal and Alloy, and `logcli` finds it by its trace.
{
  self,
  inputs,
  pkgs,
}:
let
  machines = import ./machines.nix { inherit self; };
  graph = builtins.fromTOML (builtins.readFile ../../system.toml);
  watched =
    { lib, ... }:
    {
      services.alloy.enable = lib.mkOverride 40 true; # the other tests go without
    };
in
pkgs.testers.runNixOSTest {
  name = "log-query";
  node.specialArgs = { inherit inputs; };
  nodes = {
    inherit (machines) backup gpu;
    core.imports = [
      machines.core
      watched
    ];
    monitoring =
      { lib, ... }:
      {
        imports = [
          machines.house
          watched
        ];
        barnabee.name = "barnabee-monitoring";
        barnabee.secrets.unused = [
          "heartbeat_url"
          "home_assistant_webhook"
        ];
        services.grafana.enable = lib.mkForce false; # nobody looks here
        environment.systemPackages = [ pkgs.grafana-loki ]; # logcli
        virtualisation.memorySize = 2048;
      };
  };
  # The promise stands in system.toml; the script takes it from here.
  testScript = ''
    LOG_QUERY_S = ${toString graph.acceptance.log_query_s}
    API_PORT = ${toString graph.service.api.port}
  ''
  + builtins.readFile ./log-query.py;
}
