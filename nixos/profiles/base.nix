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
  nixpkgs.hostPlatform = lib.mkDefault "x86_64-linux";
  system.stateVersion = lib.mkDefault "26.05";
}
