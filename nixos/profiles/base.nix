# What all machines of the house share: where everybody is, how people get in, where secrets are.
{ config, lib, ... }:
let
  secrets = ../../secrets/house.yaml;
in
{
  barnabee.network = {
    gateway = lib.mkDefault "beast";
    addresses = lib.mapAttrs (_: lib.mkDefault) {
      beast = "10.77.0.1";
      barnabee-gpu = "10.77.0.11";
      barnabee-core = "10.77.0.12";
      barnabee-monitoring = "10.77.0.13";
      battleserver = "10.77.0.2";
      manofwar = "10.77.0.3";
    };
  };
  # Where the house is reached, whichever machine serves it; without this there is no stand-by.
  barnabee.standby = {
    address = lib.mkDefault "192.168.1.50/24";
    lan = lib.mapAttrs (_: lib.mkDefault) {
      beast = "192.168.1.10";
      manofwar = "192.168.1.11";
    };
  };
  barnabee.secrets.sopsFile = lib.mkIf (builtins.pathExists secrets) (lib.mkDefault secrets);

  services.openssh = {
    enable = lib.mkDefault true;
    settings.PasswordAuthentication = lib.mkDefault false;
  };
  nix.settings.experimental-features = lib.mkDefault [
    "nix-command"
    "flakes"
  ];
  documentation.enable = lib.mkDefault false;
  networking.useDHCP = lib.mkDefault (!config.boot.isContainer);
  system.stateVersion = lib.mkDefault "26.05";
}
