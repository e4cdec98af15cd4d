# The daily snapshot, the nightly drill and recordings to the house's own storage: by timers, each
# with its own keys and as little of the machine as it needs. docs/reference/backup.md
{
  config,
  lib,
  pkgs,
  house,
  ...
}:
let
  inherit (house) graph;
  inherit (graph) backup;
  inherit (config.barnabee.secrets) fileOf;
  here = house.runs "litestream";
  offsite = backup.offsite != "";
  copies = here && backup.audio_to != "";
  overSsh = lib.hasInfix ":" backup.audio_to;

  elsewhere = lib.optionals offsite [
    "snapshot_key"
    "rclone_conf"
  ];
  replica = [
    "b2_key_id"
    "b2_application_key"
  ];
  given = names: lib.filter (name: fileOf name != null) names;
  credentials = names: map (name: "${name}:${fileOf name}") (given names);

  round =
    {
      command,
      description,
      keys ? [ ],
      outbound ? false,
      limit,
    }:
    {
      inherit description;
      inherit (house) environment;
      path = [
        pkgs.rclone
        pkgs.rsync
        pkgs.openssh
      ];
      after = [ "barnabee-litestream.service" ];
      serviceConfig =
        import ../lib/hardening.nix
        // {
          Type = "oneshot";
          ExecStart = "${house.barnabee} backup ${command}";
          User = "barnabee-backup";
          Group = "barnabee";
          LoadCredential = credentials keys;
          ReadWritePaths = [ config.barnabee.dataDir ];
          StateDirectory = "barnabee-backup";
          TimeoutStartSec = limit;
          MemoryMax = "512M";
          Nice = 19;
          IOSchedulingClass = "idle";
          CPUWeight = 20;
        }
        // lib.optionalAttrs (!outbound) house.inside;
    };

  # With the house, and not with the machine: a stand-by that does not serve has nothing to prove.
  withHouse = {
    wantedBy = [ "barnabee.target" ];
    partOf = [ "barnabee.target" ];
  };
  timer =
    when:
    withHouse
    // {
      timerConfig = when // {
        Persistent = true;
      };
    };
  daily = clock: timer { OnCalendar = "*-*-* ${clock}:00"; };

  # `barnabee-house restore --force` and the like, for root: with the keys and the settings of the
  # house's services, which no shell has.
  tool = pkgs.writeShellScriptBin "barnabee-house" (
    ''
      BARNABEE=${house.barnabee}
      ENVIRONMENT=${environment}
      CREDENTIALS="${lib.concatStringsSep " " (credentials (replica ++ elsewhere))}"
    ''
    + builtins.readFile ../scripts/barnabee-house.sh
  );
  environment = pkgs.writeText "barnabee-house.env" (
    lib.concatStrings (
      lib.mapAttrsToList (name: value: "${name}=${value}\n") (
        house.environment
        // {
          PATH = lib.makeBinPath [
            pkgs.coreutils
            pkgs.rclone
            pkgs.systemd
          ];
          BARNABEE_UNITS = "barnabee.target barnabee-api.service barnabee-worker.service barnabee-litestream.service";
        }
      )
    )
  );
in
{
  config = lib.mkMerge [
    {
      assertions = [
        {
          assertion = !(here && offsite) || backup.recovery_recipient != "";
          message = "barnabee.system.backup.offsite would take snapshots out of the house unencrypted: set barnabee.system.backup.recovery_recipient to the line age1… that `barnabee backup kit` prints.";
        }
        {
          assertion = !(here && offsite) || lib.hasInfix ":" backup.offsite;
          message = "barnabee.system.backup.offsite is ${backup.offsite}, which names no remote of rclone; write it like nas:barnabee.";
        }
        {
          assertion = !here || backup.snapshot_at != backup.drill_at;
          message = "barnabee.system.backup.drill_at is the time of the snapshot, which it is to try; set it some minutes after barnabee.system.backup.snapshot_at.";
        }
        {
          assertion = !copies || graph.recording.enabled;
          message = "barnabee.system.backup.audio_to copies recordings, but barnabee.system.recording.enabled is off; empty one or turn the other on.";
        }
      ];
    }

    (lib.mkIf (here && !offsite) {
      # `service.restore.credentials` names them for houses with a second place.
      barnabee.secrets.unused = [
        "snapshot_key"
        "rclone_conf"
      ];
    })

    (lib.mkIf here {
      users.users.barnabee-backup = {
        isSystemUser = true;
        group = "barnabee";
      };
      environment.systemPackages = [ tool ];
      systemd.services.barnabee-restore.path = [ pkgs.rclone ];

      systemd.services.barnabee-snapshot = round {
        command = "snapshot --gentle";
        description = "BarnabeeNet: the daily snapshot of the database";
        keys = elsewhere;
        outbound = offsite;
        limit = "2h";
      };
      systemd.timers.barnabee-snapshot = daily backup.snapshot_at;

      systemd.services.barnabee-drill = round {
        command = "drill --gentle";
        description = "BarnabeeNet: restores the newest copies and compares them";
        keys = replica ++ elsewhere;
        outbound = true;
        limit = "4h";
      };
      systemd.timers.barnabee-drill = daily backup.drill_at;
      # `POST /v1/backups/rehearse` makes this file; the drill takes it away when it begins.
      systemd.paths.barnabee-drill = withHouse // {
        pathConfig.PathExists = "${config.barnabee.dataDir}/drill.request";
      };
    })

    (lib.mkIf copies {
      barnabee.secrets.needed = lib.optional overSsh "nas_ssh_key";
      systemd.services.barnabee-audio = round {
        command = "audio";
        description = "BarnabeeNet: copies recordings to the house's own storage";
        keys = lib.optional overSsh "nas_ssh_key";
        outbound = true;
        limit = toString backup.audio_every_s;
      };
      systemd.timers.barnabee-audio = timer {
        OnActiveSec = "5min";
        OnUnitActiveSec = backup.audio_every_s;
      };
    })
  ];
}
