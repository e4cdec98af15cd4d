# Filler phrases of the voice service, synthesized by Kokoro on the CPU.
{
  barnabee,
  barnabeeModels,
  linkFarm,
  runCommand,
  systemFile ? ../../system.toml,
}:
let
  models = linkFarm "barnabee-fillers-models" { inherit (barnabeeModels.folders) kokoro-int8; };
in
runCommand "barnabee-fillers"
  {
    nativeBuildInputs = [ barnabee ];
    BARNABEE_SYSTEM = systemFile;
    BARNABEE_MODELS = models;
  }
  ''
    export HOME=$TMPDIR
    barnabee fillers generate --out $out
  ''
