# /etc/barnabee/deploy.json: facts about this system that `barnabee switch` reads before it activates it
# (src/barnabee/deploy/machine.py).
{
  config,
  inputs,
  lib,
  barnabeeLib,
  ...
}:
let
  inherit (barnabeeLib) graph graphLib;
  cfg = config.barnabee.deploy;

  # Directory of the database: on this host, or of the guest that runs the API.
  coreHost = toString (graphLib.hostOf graph "api");
  guestDirectory =
    ((config.barnabee.guests or { }).${coreHost} or { }).directories.${config.barnabee.dataDir} or null;
  database =
    if barnabeeLib.runsService "restore" && config.barnabee.health.start then
      {
        machine = null;
        directory = config.barnabee.dataDir;
        paths = config.barnabee.standby.servingPaths;
      }
    else if guestDirectory != null then
      {
        machine = coreHost;
        directory = guestDirectory;
        paths = inputs.self.nixosConfigurations.${coreHost}.config.barnabee.standby.servingPaths;
      }
    else
      null;

  facts = {
    kernel = if config.boot.isContainer then null else config.boot.kernelPackages.kernel.modDirVersion;
    driver = if config.barnabee.gpu.enable then config.hardware.nvidia.package.version else null;
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
          database = "${database.directory}/barnabee.db";
          pin_unit = "barnabee-pin.service";
          restore_unit = "barnabee-rollback-data@";
          house = "barnabee.target";
          start = database.paths;
          inherit (database) machine;
        };
    limits = removeAttrs graph.deploy [ "boot_tries" ];
    program = barnabeeLib.barnabee;
  };
in
{
  config = lib.mkIf cfg.enable {
    environment.etc."barnabee/deploy.json".text = builtins.toJSON facts;
  };
}
