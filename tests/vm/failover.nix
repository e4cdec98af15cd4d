# Failover: the primary crashes, the standby serves at the virtual IP address, the primary returns as follower.
{
  graph,
  lib,
  machines,
  pkgs,
  ...
}:
let
  address = "192.168.1.100";
  pair =
    { config, containers, ... }:
    let
      addressOf = name: containers.${name}.networking.primaryIPAddress;
    in
    {
      environment.systemPackages = [ pkgs.valkey ];
      barnabee = {
        network.addresses.manofwar = addressOf "manofwar";
        uplink = "eth1";
        standby = {
          virtualIp = "${address}/24";
          lanAddresses = {
            barnabee-core = addressOf "core";
            manofwar = addressOf "manofwar";
          };
        };
      };
    };
in
{
  machines = {
    inherit (machines) backup gpu;
    core.imports = [
      machines.core
      pair
    ];
    manofwar = {
      imports = [
        machines.common
        machines.fakeGpu
        pair
        ../../nixos/profiles/standby.nix
      ];
      barnabee = {
        name = "manofwar";
        network.interface = "eth1";
        secrets.unused = [ "home_assistant_token" ];
      };
    };
  };
  constants = {
    VIRTUAL_IP = address;
    LEASE_S = graph.standby.lease_s;
  };
}
