# A generation that is not well takes itself back, a good one stays: by switch, by kill, by power cut.
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
        # It boots by its own boot loader, so that it can come up with another generation.
        boot.loader.systemd-boot.enable = true;
        boot.loader.efi.canTouchEfiVariables = true;
        virtualisation.useBootLoader = true;
        virtualisation.useEFIBoot = true;
        system.switch.enable = true;
        environment.etc."machine-id".text = "1234567890abcdef1234567890abcdef\n"; # lasts over boots

        barnabee.deploy.probe = false; # the tests' engines speak no words
        barnabee.system.deploy = {
          settle_s = 90; # what is bad here stays so
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
