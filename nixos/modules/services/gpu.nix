# GPU service: speech to text, text to speech, embeddings, wake words. The only process that loads models.
{
  config,
  lib,
  pkgs,
  barnabeeLib,
  ...
}:
let
  usesGpu = config.barnabee.gpu.enable;
  inherit (config.barnabee) package;
  driver = config.hardware.nvidia.package.version;
  inherit (pkgs.barnabeePython) cudaVersion minimumDriver;
  # Device classes of old drivers ("frontend") and new ones; systemd ignores classes that do not exist.
  devices = map (name: "char-${name} rw") [
    "nvidia"
    "nvidiactl"
    "nvidia-uvm"
    "nvidia-caps"
    "nvidia-frontend"
  ];
in
{
  config = lib.mkIf (barnabeeLib.runsService "gpu") {
    systemd.services.barnabee-gpu = lib.mkMerge [
      (barnabeeLib.mkService "gpu" {
        compiles = true; # onnxruntime and triton
        serviceConfig = {
          CacheDirectory = "barnabee-gpu";
        }
        // lib.optionalAttrs usesGpu {
          # The GPU's devices only.
          PrivateDevices = false;
          DeviceAllow = devices;
          # The driver checks the device's owner, whom a user namespace hides.
          PrivateUsers = false;
        };
      })
      (lib.mkIf usesGpu {
        after = [ "nvidia-persistenced.service" ]; # creates the device files
        wants = [ "nvidia-persistenced.service" ];
        environment = {
          BARNABEE_DEVICE = "cuda";
          CUDA_DEVICE_ORDER = "PCI_BUS_ID"; # the driver's numbers, which NVML uses
          CUDA_VISIBLE_DEVICES = config.barnabee.system.gpu.device;
          LD_LIBRARY_PATH = "/run/opengl-driver/lib:${package.cudaLibraries}";
        };
      })
    ];

    assertions = lib.optionals usesGpu [
      {
        assertion = package.cudaLibraries != "";
        message = "barnabee.package has no CUDA libraries, which barnabee.gpu.enable needs; set it to pkgs.barnabee-cuda.";
      }
      {
        assertion = lib.versionAtLeast driver minimumDriver;
        message = "barnabee.package has CUDA ${cudaVersion}, which needs driver ${minimumDriver} or newer, but hardware.nvidia.package is ${driver}; choose a newer one of config.boot.kernelPackages.nvidiaPackages.";
      }
    ];
  };
}
