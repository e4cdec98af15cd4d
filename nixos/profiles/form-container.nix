# A guest as an nspawn container: the machine beneath brings kernel, address and resolver.
{ config, lib, ... }:
let
  inherit (config.barnabee) network;
in
{
  boot.isContainer = true;
  services.openssh.enable = false; # machinectl shell leads into it
  barnabee.deploy.enable = false; # it is part of the machine beneath, and switched with it
  # The machine beneath hands its secrets in (modules/guests.nix); the guest needs no key of its own.
  barnabee.secrets = {
    sopsFile = null;
    directory = "/run/credentials/@system";
  };

  networking = {
    useHostResolvConf = false; # not the resolver of a loopback that is not its own
    nameservers = lib.mkDefault [ network.addresses.${network.gateway} ];
    defaultGateway.address = lib.mkDefault network.addresses.${network.gateway};
  };
}
