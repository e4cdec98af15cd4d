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
  machineKey = pkgs.runCommand "machine-key" { } ''
    ${pkgs.barnabee.env}/bin/python -c 'from pyrage import x25519; print(x25519.Identity.generate())' > $out
  '';
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
          barnabee.system.backup = {
            offsite = "nas:${graph.replica.bucket}";
            # The public half of a recovery key whose secret half nobody has.
            recovery_recipient = "age1hhtau93hxc933zxqwfnra3ptazfek8493z9raw4cfulpk3k7pahqdl0djh";
          };
          testSecrets = {
            rclone_conf = rcloneConf containers.nas.networking.primaryIPAddress;
            snapshot_key = machineKey;
          };
        }
      )
    ];
  };
  constants.BUCKET = "/srv/s3/${graph.replica.bucket}";
}
