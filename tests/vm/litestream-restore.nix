# Replica and restore: rows are streamed to a bucket, the disk is erased, the same rows are restored.
{
  self,
  inputs,
  pkgs,
}:
let
  machines = import ./machines.nix { inherit self; };
  graph = builtins.fromTOML (builtins.readFile ../../system.toml);
in
pkgs.testers.runNixOSTest {
  name = "litestream-restore";
  node.specialArgs = { inherit inputs; };
  nodes = {
    inherit (machines) backup gpu;
    core.imports = [
      machines.core
      { environment.systemPackages = [ pkgs.sqlite ]; }
    ];
  };
  testScript = ''
    COLD_START_S = ${toString graph.acceptance.cold_start_s}
    BUCKET = "/srv/s3/${graph.replica.bucket}"
  ''
  + builtins.readFile ./litestream-restore.py;
}
