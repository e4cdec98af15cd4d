# BarnabeeNet as a Python application, with the packages of poetry.lock.
{
  lib,
  barnabeePython,
  cacert,
  runtime,
  checks,
  valkey,
  variant ? "",
}:
let
  inherit (barnabeePython) python;
  hasCuda = variant == "-cuda";
  project = builtins.fromTOML (builtins.readFile ../../pyproject.toml);
  root = ../..;
  files = lib.fileset;
  # Folders whose tests need no model, no network and no program but Redis.
  tests = [
    "tests/unit/core"
    "tests/unit/store"
    "tests/unit/understanding"
  ];
  cudaWheels = [
    "cublas"
    "cudnn"
    "cuda_runtime"
    "cuda_nvrtc"
    "cufft"
    "curand"
    "nvjitlink"
  ];

  package = python.pkgs.buildPythonApplication {
    pname = "barnabee${variant}";
    inherit (project.tool.poetry) version;
    pyproject = true;
    src = files.toSource {
      inherit root;
      fileset = files.unions [
        (root + "/src/barnabee")
        (root + "/tests/conftest.py")
        (root + "/tests/data")
        (root + "/tests/support")
        (files.unions (map (folder: root + "/${folder}") tests))
        (root + "/pkgs/models/models.toml")
        (root + "/pyproject.toml")
        (root + "/system.toml")
        (root + "/README.md")
        (root + "/LICENSE")
      ];
    };
    # Its own tests would build another 30 packages: no cache has them for Python 3.11.
    build-system = [ (python.pkgs.poetry-core.overridePythonAttrs { doCheck = false; }) ];
    dependencies = runtime;
    pythonRemoveDeps = lib.optional hasCuda "onnxruntime"; # replaced by onnxruntime-gpu

    # `pythonRuntimeDepsCheck` (on by default) checks the dependencies of pyproject.toml.
    nativeCheckInputs = checks ++ lib.optional (checks != [ ]) valkey;
    doCheck = checks != [ ];
    # httpx reads SSL_CERT_FILE, which names no file in a build. A build does not depend on chance: one seed.
    checkPhase = ''
      runHook preCheck
      SSL_CERT_FILE=${cacert}/etc/ssl/certs/ca-bundle.crt \
        python -m pytest -q -p no:cacheprovider --hypothesis-seed=0 ${toString tests} \
        --ignore=tests/unit/understanding/test_intent_accuracy.py # needs a model
      runHook postCheck
    '';
    pythonImportsCheck = [
      "barnabee.api.app"
      "barnabee.gpu.app"
      "barnabee.workers.app"
    ];

    passthru = {
      # CTranslate2 and onnxruntime load the CUDA libraries of torch's wheels by name.
      cudaLibraries = lib.concatMapStringsSep ":" (
        wheel: "${package.env}/${python.sitePackages}/nvidia/${wheel}/lib"
      ) (lib.optionals hasCuda cudaWheels);

      # Python environment of the units (`python -m barnabee.api`).
      env = python.buildEnv.override {
        extraLibs = [ (python.pkgs.toPythonModule package) ];
        ignoreCollisions = true; # every nvidia-* wheel contains nvidia/__init__.py
      };
    };

    meta = {
      inherit (project.tool.poetry) description;
      license = lib.licenses.asl20;
      mainProgram = "barnabee";
      platforms = [ "x86_64-linux" ];
    };
  };
in
package
