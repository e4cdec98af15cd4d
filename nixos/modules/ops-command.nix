# The command `barnabee-ops`: runs `barnabee` as root with the settings and secrets of the services,
# for example `barnabee-ops restore --force`.
{
  config,
  lib,
  pkgs,
  barnabeeLib,
  ...
}:
let
  inherit (config.barnabee.secrets) fileOf;
  names = [
    "api_token" # `barnabee-ops token add kitchen-satellite`
    "b2_key_id"
    "b2_application_key"
  ]
  ++ lib.optionals (barnabeeLib.graph.backup.offsite != "") [
    "restic_password"
    "rclone_conf"
  ];
  credentials = map (name: "${name}:${fileOf name}") (
    lib.filter (name: fileOf name != null) names
  );
  environment = barnabeeLib.environment // barnabeeLib.replicaEnvironment // {
    PATH = lib.makeBinPath [
      pkgs.coreutils
      pkgs.rclone
      pkgs.restic
      pkgs.systemd
    ];
    BARNABEE_TOKEN_STATE = "/var/lib/barnabee-tokens";
    BARNABEE_TOKEN_COPIES = "/run/barnabee-tokens";
    BARNABEE_UNITS = lib.concatStringsSep " " (
      [
        "barnabee.target"
        "barnabee-api.service"
        "barnabee-worker.service"
        "barnabee-litestream.service"
      ]
      ++ config.barnabee.standby.servingPaths
    );
  };
  environmentFile = pkgs.writeText "barnabee-ops.env" (
    lib.concatStrings (lib.mapAttrsToList (name: value: "${name}=${value}\n") environment)
  );
  command = pkgs.writeShellScriptBin "barnabee-ops" ''
    BARNABEE=${barnabeeLib.barnabee}
    ENVIRONMENT=${environmentFile}
    CREDENTIALS="${lib.concatStringsSep " " credentials}"
    ${builtins.readFile ../scripts/barnabee-ops.sh}'';
  # The old name of the command, kept for one release.
  oldCommand = pkgs.writeShellScriptBin "barnabee-house" ''
    echo "barnabee-house is now called barnabee-ops; use that name." >&2
    exec ${command}/bin/barnabee-ops "$@"
  '';
in
{
  config = lib.mkIf (barnabeeLib.runsService "litestream") {
    environment.systemPackages = [
      command
      oldCommand
    ];
  };
}
