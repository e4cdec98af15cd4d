# The primary dies, the stand-by serves under the house's address, the primary comes back to follow.
{
  self,
  inputs,
  pkgs,
}:
let
  machines = import ./machines.nix { inherit self; };
  graph = builtins.fromTOML (builtins.readFile ../../system.toml);
  pair =
    { nodes, ... }:
    {
      environment.systemPackages = [ pkgs.valkey ];
      barnabee.network.addresses.manofwar = nodes.manofwar.networking.primaryIPAddress;
      barnabee.uplink = "eth1";
      barnabee.standby = {
        address = "192.168.1.100/24";
        lan = {
          barnabee-core = nodes.core.networking.primaryIPAddress;
          manofwar = nodes.manofwar.networking.primaryIPAddress;
        };
      };
    };
in
pkgs.testers.runNixOSTest {
  name = "failover";
  node.specialArgs = { inherit inputs; };
  nodes = {
    inherit (machines) backup gpu;
    core.imports = [
      machines.core
      pair
    ];
    manofwar =
      { config, lib, ... }:
      {
        imports = [
          machines.house
          pair
          ../../nixos/profiles/standby.nix
        ];
        barnabee.name = "manofwar";
        barnabee.network.link = "eth1";
        barnabee.secrets.unused = [
          "azure_openai_key"
          "home_assistant_token"
        ];
        services.nginx.enable = lib.mkForce false; # it has no certificate here
        systemd.services.barnabee-gpu.serviceConfig.ExecStart =
          lib.mkForce "${config.barnabee.package.env}/bin/python ${./fake_gpu.py}";
        virtualisation.memorySize = 3072;
      };
  };
  # The promises stand in system.toml; the script takes them from here.
  testScript = ''
    ADDRESS = "192.168.1.100"
    VOICE = "http://192.168.1.100:${toString graph.service.voice.port}/health/live"
    API_PORT = ${toString graph.service.api.port}
    TOKEN = "${machines.secret}"
    LEASE_S = ${toString graph.standby.lease_s}
    HEALTHY_S = ${toString graph.acceptance.healthy_s}
  ''
  + builtins.readFile ./failover.py;
}
