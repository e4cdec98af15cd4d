# Speech to text, text to speech, embeddings, wake words: the only process that loads a model.
{
  config,
  lib,
  house,
  ...
}:
let
  card = config.barnabee.gpu.card;
  # Old drivers say "frontend", new ones "nvidia"; a class that does not exist is passed over.
  devices = map (name: "char-${name} rw") [
    "nvidia"
    "nvidiactl"
    "nvidia-uvm"
    "nvidia-caps"
    "nvidia-frontend"
  ];
in
{
  config = lib.mkIf (house.runs "gpu") {
    systemd.services.barnabee-gpu = lib.mkMerge [
      (house.mkService "gpu" {
        exec = "${house.python} -m barnabee.gpu";
        compiles = true; # onnxruntime and triton
        serviceConfig = {
          CacheDirectory = "barnabee-gpu";
        }
        // lib.optionalAttrs card {
          # The card's devices, and no others.
          PrivateDevices = false;
          DeviceAllow = devices;
          # The driver asks for the device's owner, whom a user namespace would hide.
          PrivateUsers = false;
        };
      })
      (lib.mkIf card {
        after = [ "nvidia-persistenced.service" ]; # it makes the device files
        wants = [ "nvidia-persistenced.service" ];
        environment = {
          BARNABEE_DEVICE = "cuda";
          LD_LIBRARY_PATH = "/run/opengl-driver/lib:${config.barnabee.package.cudaLibraries}";
        };
      })
    ];
  };
}
