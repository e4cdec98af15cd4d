# GPU service: speech to text, text to speech, embeddings, wake words. The only process that loads models.
{
  config,
  lib,
  barnabeeLib,
  ...
}:
let
  usesGpu = config.barnabee.gpu.enable;
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
          LD_LIBRARY_PATH = "/run/opengl-driver/lib:${config.barnabee.package.cudaLibraries}";
        };
      })
    ];
  };
}
