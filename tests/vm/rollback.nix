# Rollback: an unhealthy generation is rolled back after a power loss and after its test boot.
{ lib, machines, ... }:
{
  virtual = true; # boot loader and specialisations
  machines = {
    inherit (machines) backup gpu;
    core = {
      imports = [ machines.core ];
      virtualisation.memorySize = 2048;
      # Boots from its own boot loader, so that it can boot another generation.
      boot.loader.systemd-boot.enable = true;
      boot.loader.efi.canTouchEfiVariables = true;
      virtualisation.useBootLoader = true;
      virtualisation.useEFIBoot = true;
      system.switch.enable = true;
      environment.etc."machine-id".text = "1234567890abcdef1234567890abcdef\n"; # the same after a reboot

      barnabee.system.deploy = {
        settle_s = 90; # the bad generation never recovers
        watch_every_s = 5;
      };

      specialisation = {
        good.configuration.environment.etc."generation".text = "good";
        bad.configuration = {
          environment.etc."generation".text = "bad";
          systemd.services.barnabee-api.serviceConfig.ExecStart =
            lib.mkForce "/run/current-system/sw/bin/false";
        };
      };
    };
  };
}
