# Language model on the GPU host: llama.cpp's server with a model file, used by the api of the core host.
# Its memory is reserved in the VRAM budget; the evaluation fails when all models do not fit beside it.
{
  config,
  lib,
  pkgs,
  barnabeeLib,
  ...
}:
let
  inherit (barnabeeLib) graph graphLib;
  cfg = config.barnabee.llm;
  usesGpu = config.barnabee.gpu.enable;
  inherit (graph.companion.llm) port;
  keyFile = config.barnabee.secrets.fileOf "llm_api_key";
  runs = cfg.enable && barnabeeLib.runsService "gpu";
in
{
  options.barnabee.llm = {
    enable = lib.mkEnableOption "a language model on the host that runs the gpu service; set it for the core host too";
    package = lib.mkOption {
      type = lib.types.package;
      # Vulkan: with CUDA it is in no public cache and compiles for hours.
      default = if usesGpu then pkgs.llama-cpp-vulkan else pkgs.llama-cpp;
      defaultText = lib.literalExpression "if config.barnabee.gpu.enable then pkgs.llama-cpp-vulkan else pkgs.llama-cpp";
      description = "Package with `llama-server`.";
      example = lib.literalExpression "pkgs.llama-cpp.override { cudaSupport = true; }";
    };
    model = lib.mkOption {
      type = lib.types.path;
      description = "Model file in the GGUF format, with a chat template and tool calls.";
      example = "/var/lib/models/qwen3-4b-instruct-q4_k_m.gguf";
    };
    vramMib = lib.mkOption {
      type = lib.types.ints.positive;
      description = "VRAM that the model and its context take at most; reserved in the budget of the gpu service.";
      example = 4096;
    };
    contextTokens = lib.mkOption {
      type = lib.types.ints.positive;
      default = 8192;
      description = "Length of the context.";
      example = 16384;
    };
  };

  config = lib.mkMerge [
    (lib.mkIf cfg.enable {
      barnabee.system = {
        gpu.reserved_mib = cfg.vramMib;
        llm = {
          provider = lib.mkDefault "openai";
          url = lib.mkDefault "http://${barnabeeLib.addressOf "gpu"}:${toString port}/v1";
          model = lib.mkDefault "local";
        };
      };
    })

    (lib.mkIf runs {
      barnabee.secrets.needed = [ "llm_api_key" ];
      barnabee.network.rules = [
        {
          inherit port;
          from = graphLib.hostsWithRole graph "core";
        }
      ];

      systemd.services.barnabee-llm = {
        description = "BarnabeeNet: language model";
        wantedBy = [ "barnabee.target" ];
        partOf = [ "barnabee.target" ];
        # The speech models are loaded first: every turn needs them.
        after = [
          "network-online.target"
          "barnabee-gpu.service"
        ];
        wants = [ "network-online.target" ];
        environment = config.barnabee.gpu.environment // lib.optionalAttrs usesGpu {
          LD_LIBRARY_PATH = "/run/opengl-driver/lib";
          XDG_CACHE_HOME = "/var/cache/barnabee-llm"; # compiled shaders
        };
        serviceConfig =
          import ../../lib/hardening.nix
          // barnabeeLib.privateNetworkOnly
          // {
            ExecStart = lib.escapeShellArgs (
              [
                (lib.getExe' cfg.package "llama-server")
                "--model"
                cfg.model
                "--alias"
                graph.llm.model
                "--host"
                barnabeeLib.hostAddress
                "--port"
                port
                "--ctx-size"
                cfg.contextTokens
                "--parallel"
                1
                "--jinja"
                "--no-webui" # new versions call it --no-ui and accept both
              ]
              ++ lib.optionals usesGpu [
                "--n-gpu-layers"
                999
              ]
              ++ lib.optionals (keyFile != null) [
                "--api-key-file"
                "/run/credentials/barnabee-llm.service/llm_api_key"
              ]
            );
            DynamicUser = true;
            Slice = "barnabee.slice";
            Restart = "always";
            RestartSec = "2s";
            LoadCredential = lib.optional (keyFile != null) "llm_api_key:${keyFile}";
          }
          // lib.optionalAttrs usesGpu {
            PrivateDevices = false;
            PrivateUsers = false;
            MemoryDenyWriteExecute = false; # the driver compiles shaders
            CacheDirectory = "barnabee-llm";
            DeviceAllow = map (name: "char-${name} rw") [
              "nvidia"
              "nvidiactl"
              "nvidia-uvm"
              "nvidia-caps"
              "nvidia-frontend"
            ];
          };
      };
    })
  ];
}
