# Failover: the primary crashes, the standby serves at the virtual IP address, the primary returns as follower.
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
      barnabee.network.public.tcp = [ graph.service.voice.port ]; # nginx has no certificate here
      barnabee.standby = {
        virtualIp = "192.168.1.100/24";
        lanAddresses = {
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
          machines.common
          pair
          ../../nixos/profiles/standby.nix
        ];
        barnabee.name = "manofwar";
        barnabee.network.interface = "eth1";
        barnabee.secrets.unused = [
          "home_assistant_token"
        ];
        services.nginx.enable = lib.mkForce false; # no certificate in the tests
        systemd.services.barnabee-gpu.serviceConfig.ExecStart =
          lib.mkForce "${config.barnabee.package.env}/bin/python ${./fake_gpu.py}";
        virtualisation.memorySize = 3072;
      };
  };
  # The limits of system.toml.
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
