# Settings of all hosts: addresses, SSH, secrets, Nix.
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
  # Of the home network below: set them and remove this line.
  barnabee.placeholders = [
    "barnabee.standby.lanAddresses"
    "barnabee.standby.virtualIp"
  ];
  # The virtual IP address of the deployment; null turns the standby off.
  barnabee.standby = {
    virtualIp = lib.mkDefault "192.168.1.50/24";
    lanAddresses = lib.mapAttrs (_: lib.mkDefault) {
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
