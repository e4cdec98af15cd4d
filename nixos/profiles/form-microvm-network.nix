# Network of a microvm: a tap interface, which the hypervisor adds to its bridge (modules/guest-network.nix).
{ config, ... }:
let
  inherit (config.barnabee) name network;
  gateway = network.addresses.${network.gateway};
  mac = "02:00:00:77:00:0b";
in
{
  microvm.interfaces = [
    {
      type = "tap";
      id = "vm-gpu";
      inherit mac;
    }
  ];

  networking.useDHCP = false;
  networking.useNetworkd = true;
  systemd.network.networks."10-bridge" = {
    matchConfig.MACAddress = mac;
    address = [ "${network.addresses.${name}}/24" ];
    gateway = [ gateway ];
    dns = [ gateway ];
  };
}
