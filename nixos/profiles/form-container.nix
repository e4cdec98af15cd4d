# Guest as an nspawn container: kernel, address and DNS resolver are the hypervisor's.
{ config, lib, ... }:
let
  inherit (config.barnabee) network;
in
{
  imports = [ ./form-guest.nix ];

  boot.isContainer = true;
  services.openssh.enable = false; # `machinectl shell` instead

  networking = {
    useHostResolvConf = false; # the host's resolver listens on the host's loopback
    nameservers = lib.mkDefault [ network.addresses.${network.gateway} ];
    defaultGateway.address = lib.mkDefault network.addresses.${network.gateway};
  };
}
