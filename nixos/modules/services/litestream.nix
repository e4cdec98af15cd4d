# Litestream: streams the database to its bucket. `barnabee replicate` writes the configuration and
# replaces itself with litestream, the only process with the bucket's key. docs/reference/store.md
{
  config,
  lib,
  barnabeeLib,
  ...
}:
{
  config = lib.mkIf (barnabeeLib.runsService "litestream") {
    systemd.services.barnabee-litestream = barnabeeLib.mkService "litestream" {
      exec = "${barnabeeLib.barnabee} replicate";
      probe = "${barnabeeLib.barnabee} health --wait ${toString barnabeeLib.graph.service.litestream.startup_budget_s} --at litestream=${barnabeeLib.hostAddress}";
      group = "barnabee";
      readiness = "exec";
      outbound = true;
      writes = [ config.barnabee.dataDir ];
      serviceConfig = {
        RuntimeDirectory = "barnabee-litestream";
        RuntimeDirectoryMode = "0750";
        # For its own priority: `Nice` would slow its start too, for which the writers wait.
        SystemCallFilter = (import ../../lib/hardening.nix).SystemCallFilter ++ [ "setpriority" ];
        # It creates its directory with the mode of the database's directory, which has the setgid bit.
        RestrictSUIDSGID = false;
      };
    };
  };
}
