# Streams the database to its bucket. `barnabee replicate` writes the configuration out of the graph
# and becomes litestream; only it has the key. Its log rules: docs/reference/store.md.
{
  config,
  lib,
  house,
  ...
}:
{
  config = lib.mkIf (house.runs "litestream") {
    systemd.services.barnabee-litestream = house.mkService "litestream" {
      exec = "${house.barnabee} replicate";
      probe = "${house.barnabee} health --wait ${toString house.graph.service.litestream.startup_budget_s} --at litestream=${house.address}";
      group = "barnabee";
      readiness = "exec";
      outbound = true;
      writes = [ config.barnabee.dataDir ];
      serviceConfig = {
        RuntimeDirectory = "barnabee-litestream";
        RuntimeDirectoryMode = "0750";
        Nice = 10; # whoever writes comes first
        # It makes its own folder with the mode of the database's, whose group is handed down.
        RestrictSUIDSGID = false;
      };
    };
  };
}
