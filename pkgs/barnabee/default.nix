# The assistant as a Python application, with the packages of poetry.lock.
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
    pythonRemoveDeps = lib.optional (variant == "-cuda") "onnxruntime"; # onnxruntime-gpu stands for it

    # `pythonRuntimeDepsCheck` (on by default) compares what pyproject.toml asks for with what is
    # there; `pip check` does so for everything that came along.
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
      # CTranslate2 and onnxruntime open CUDA's libraries by name: those that came with torch.
      cudaLibraries = lib.concatMapStringsSep ":" (
        wheel: "${package.env}/${python.sitePackages}/nvidia/${wheel}/lib"
      ) (lib.optionals (variant == "-cuda") cudaWheels);

      # A Python that knows the package: `python -m barnabee.api` is what the units start.
      env = python.buildEnv.override {
        extraLibs = [ (python.pkgs.toPythonModule package) ];
        ignoreCollisions = true; # every nvidia-* wheel brings the same nvidia/__init__.py
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
