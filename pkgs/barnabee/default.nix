# BarnabeeNet as a Python application, with the packages of poetry.lock.
{
  lib,
  barnabeePython,
  runtime,
  checks,
  valkey,
  variant ? "",
}:
let
  inherit (barnabeePython) python;
  project = builtins.fromTOML (builtins.readFile ../../pyproject.toml);
  root = ../..;
  files = lib.fileset;
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
        (root + "/tests")
        (root + "/pkgs/models/models.toml")
        (root + "/pyproject.toml")
        (root + "/system.toml")
        (root + "/README.md")
        (root + "/LICENSE")
      ];
    };
    build-system = [ python.pkgs.poetry-core ];
    dependencies = runtime;
    pythonRemoveDeps = lib.optional (variant == "-cuda") "onnxruntime"; # replaced by onnxruntime-gpu

    # `pythonRuntimeDepsCheck` (on by default) checks the dependencies of pyproject.toml.
    nativeCheckInputs = checks ++ lib.optional (checks != [ ]) valkey;
    doCheck = checks != [ ];
    checkPhase = ''
      runHook preCheck
      python -m pytest -q -p no:cacheprovider tests/unit/core tests/unit/commands tests/unit/store \
        tests/unit/gpu/test_vram_budget.py tests/unit/gpu/test_vram_ledger.py
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
      ) (lib.optionals (variant == "-cuda") cudaWheels);

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
