# Off-site backup: encrypted snapshots go to a second server, from which the database returns when disk and replica
# are lost.
{
  graph,
  machines,
  pkgs,
  ...
}:
let
  inherit (machines) secret;
  rcloneConf =
    address:
    pkgs.writeText "rclone.conf" ''
      [nas]
      type = s3
      provider = Rclone
      endpoint = http://${address}:9000
      access_key_id = ${secret}
      secret_access_key = ${secret}
    '';
  password = pkgs.writeText "restic-password" "the password of the snapshots";
in
{
  machines = {
    inherit (machines) backup gpu;
    nas = machines.backup;
    core.imports = [
      machines.core
      (
        { containers, ... }:
        {
          environment.systemPackages = [ pkgs.sqlite ];
          barnabee.system.backup.offsite = "nas:${graph.replica.bucket}";
          testSecrets = {
            rclone_conf = rcloneConf containers.nas.networking.primaryIPAddress;
            restic_password = password;
          };
        }
      )
    ];
  };
  constants.BUCKET = "/srv/s3/${graph.replica.bucket}";
}
