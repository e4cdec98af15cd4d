# Rollback: an unhealthy generation is rolled back and a healthy one stays, also after kill and power loss.
{
  self,
  inputs,
  pkgs,
}:
let
  machines = import ./machines.nix { inherit self; };
  graph = builtins.fromTOML (builtins.readFile ../../system.toml);
in
pkgs.testers.runNixOSTest {
  name = "rollback";
  node.specialArgs = { inherit inputs; };
  nodes = {
    inherit (machines) backup gpu;
    core =
      { lib, ... }:
      {
        imports = [ machines.core ];
        # Boots from its own boot loader, so that it can boot another generation.
        boot.loader.systemd-boot.enable = true;
        boot.loader.efi.canTouchEfiVariables = true;
        virtualisation.useBootLoader = true;
        virtualisation.useEFIBoot = true;
        system.switch.enable = true;
        environment.etc."machine-id".text = "1234567890abcdef1234567890abcdef\n"; # the same after a reboot

        barnabee.deploy.probe = false; # the fake engines synthesize tones
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
  testScript = ''
    HEALTHY_S = ${toString graph.acceptance.healthy_s}
    SWITCH_S = ${toString graph.deploy.switch_s}
  ''
  + builtins.readFile ./rollback.py;
}
