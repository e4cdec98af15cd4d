# First boot: a machine without secrets says what it needs, gets it, and serves the page.
{ machines, pkgs, ... }:
{
  machines = {
    inherit (machines) backup gpu;
    core.imports = [
      machines.core
      {
        withSecrets = false;
        barnabee.proxy.dashboard = pkgs.barnabee-dashboard;
        barnabee.system.deploy.settle_s = 20; # it is not healthy before the secrets are there
      }
    ];
  };
  constants = evaluated: {
    NAMES = evaluated.core.barnabee.secrets.used;
  };
}
