# Guest as an nspawn container: kernel, address and DNS resolver are the hypervisor's.
{ config, lib, ... }:
let
  inherit (config.barnabee) network;
in
{
  boot.isContainer = true;
  services.openssh.enable = false; # `machinectl shell` instead
  barnabee.deploy.enable = false; # part of the hypervisor's system
  # The hypervisor passes the secrets (modules/guest-secrets.nix); the guest has no sops key.
  barnabee.secrets = {
    sopsFile = null;
    directory = "/run/credentials/@system";
  };

  networking = {
    useHostResolvConf = false; # the host's resolver listens on the host's loopback
    nameservers = lib.mkDefault [ network.addresses.${network.gateway} ];
    defaultGateway.address = lib.mkDefault network.addresses.${network.gateway};
  };
}
