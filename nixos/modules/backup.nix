# Timers of the daily snapshot, the nightly restore drill and the copy of recordings. Each unit has only
# the secrets and permissions that it needs. docs/reference/backup.md
{
  config,
  lib,
  pkgs,
  barnabeeLib,
  ...
}:
let
  inherit (barnabeeLib) graph;
  inherit (graph) backup;
  inherit (config.barnabee.secrets) fileOf;
  enabled = barnabeeLib.runsService "litestream";
  offsite = backup.offsite != "";
  copiesAudio = enabled && backup.audio_to != "";
  overSsh = lib.hasInfix ":" backup.audio_to;

  offsiteSecrets = lib.optionals offsite [
    "restic_password"
    "rclone_conf"
  ];
  replicaSecrets = [
    "b2_key_id"
    "b2_application_key"
  ];
  credentials =
    names: map (name: "${name}:${fileOf name}") (lib.filter (name: fileOf name != null) names);

  job =
    {
      command,
      description,
      secrets ? [ ],
      outbound ? false,
      timeout,
    }:
    {
      inherit description;
      inherit (barnabeeLib) environment;
      path = [
        pkgs.rclone
        pkgs.restic
        pkgs.rsync
        pkgs.openssh
      ];
      after = [ "barnabee-litestream.service" ];
      serviceConfig =
        import ../lib/hardening.nix
        // {
          Type = "oneshot";
          ExecStart = "${barnabeeLib.barnabee} backup ${command}";
          User = "barnabee-backup";
          Group = "barnabee";
          LoadCredential = credentials secrets;
          ReadWritePaths = [ config.barnabee.dataDir ];
          StateDirectory = "barnabee-backup";
          TimeoutStartSec = timeout;
          MemoryMax = "512M";
          Nice = 19;
          CPUQuota = "25%"; # of one core
          IOSchedulingClass = "idle";
          CPUWeight = 20;
        }
        // lib.optionalAttrs (!outbound) barnabeeLib.privateNetworkOnly;
    };

  # Started and stopped with the services: a standby has nothing to back up before its promotion.
  withServices = {
    wantedBy = [ "barnabee.target" ];
    partOf = [ "barnabee.target" ];
  };
  timer =
    timerConfig:
    withServices
    // {
      timerConfig = timerConfig // {
        Persistent = true;
      };
    };
  daily = time: timer { OnCalendar = "*-*-* ${time}:00"; };
in
{
  config = lib.mkMerge [
    {
      assertions = [
        {
          assertion = !(enabled && offsite) || lib.hasInfix ":" backup.offsite;
          message = "barnabee.system.backup.offsite is ${backup.offsite}, which names no remote of rclone; write it like nas:barnabee.";
        }
        {
          assertion = !enabled || backup.snapshot_at != backup.drill_at;
          message = "barnabee.system.backup.drill_at is the time of the snapshot that the drill restores; set it some minutes after barnabee.system.backup.snapshot_at.";
        }
        {
          assertion = !copiesAudio || graph.recording.enabled;
          message = "barnabee.system.backup.audio_to copies recordings, but barnabee.system.recording.enabled is off; clear the first or turn on the second.";
        }
      ];
    }

    (lib.mkIf (enabled && !offsite) {
      # `service.restore.credentials` lists them for deployments with off-site snapshots.
      barnabee.secrets.unused = [
        "restic_password"
        "rclone_conf"
      ];
    })

    (lib.mkIf enabled {
      users.users.barnabee-backup = {
        isSystemUser = true;
        group = "barnabee";
      };
      systemd.services.barnabee-restore.path = [
        pkgs.rclone
        pkgs.restic
      ];

      systemd.services.barnabee-snapshot = job {
        command = "snapshot";
        description = "BarnabeeNet: daily snapshot of the database";
        secrets = offsiteSecrets;
        outbound = offsite;
        timeout = "2h";
      };
      systemd.timers.barnabee-snapshot = daily backup.snapshot_at;

      systemd.services.barnabee-drill = job {
        command = "drill";
        description = "BarnabeeNet: restore drill of the replica and the snapshot";
        secrets = replicaSecrets ++ offsiteSecrets;
        outbound = true;
        timeout = "4h";
      };
      systemd.timers.barnabee-drill = daily backup.drill_at;
      # `POST /v1/backups/rehearse` creates this file; the drill deletes it when it starts.
      systemd.paths.barnabee-drill = withServices // {
        pathConfig.PathExists = "${config.barnabee.dataDir}/drill.request";
      };
    })

    (lib.mkIf copiesAudio {
      barnabee.secrets.needed = lib.optional overSsh "nas_ssh_key";
      systemd.services.barnabee-audio = job {
        command = "audio";
        description = "BarnabeeNet: copy of recordings to local storage";
        secrets = lib.optional overSsh "nas_ssh_key";
        outbound = true;
        timeout = toString backup.audio_every_s;
      };
      systemd.timers.barnabee-audio = timer {
        OnActiveSec = "5min";
        OnUnitActiveSec = backup.audio_every_s;
      };
    })
  ];
}
