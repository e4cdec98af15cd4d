# Replica and restore: rows are streamed to a bucket, the disk is erased, the same rows are restored.
{
  graph,
  machines,
  pkgs,
  ...
}:
{
  machines = {
    inherit (machines) backup gpu;
    core.imports = [
      machines.core
      { environment.systemPackages = [ pkgs.sqlite ]; }
    ];
  };
  constants.BUCKET = "/srv/s3/${graph.replica.bucket}";
}
