# What this system says of itself, in etc/barnabee/deploy.json: read by `barnabee switch` before it is
# activated (src/barnabee/deploy/facts.py).
{
  config,
  lib,
  house,
  ...
}:
let
  inherit (house) graph graphs;
  cfg = config.barnabee.deploy;

  # The database that this machine's services write, or those of the guest that has it.
  coreHost = toString (graphs.hostOf graph "api");
  directory =
    ((config.barnabee.guests or { }).${coreHost} or { }).directories.${config.barnabee.dataDir} or null;
  database =
    if house.runs "restore" && config.barnabee.health.start then
      {
        machine = null;
        where = config.barnabee.dataDir;
      }
    else if directory != null then
      {
        machine = coreHost;
        where = directory;
      }
    else
      null;

  facts = {
    kernel = if config.boot.isContainer then null else config.boot.kernelPackages.kernel.modDirVersion;
    driver = if config.barnabee.gpu.card then config.hardware.nvidia.package.version else null;
    schema = lib.length (
      lib.filter (lib.hasSuffix ".sql") (
        lib.attrNames (builtins.readDir ../../src/barnabee/store/migrations)
      )
    );
    inherit (cfg) checks;
    data =
      if database == null then
        null
      else
        {
          database = "${database.where}/barnabee.db";
          pin_unit = "barnabee-pin.service";
          restore_unit = "barnabee-rollback-data@";
          house = "barnabee.target";
          inherit (database) machine;
        };
    limits = removeAttrs graph.deploy [ "boot_tries" ];
    program = house.barnabee;
  };
in
{
  config = lib.mkIf cfg.enable {
    environment.etc."barnabee/deploy.json".text = builtins.toJSON facts;
  };
}
