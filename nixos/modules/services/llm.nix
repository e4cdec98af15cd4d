# Language model of the gpu service: a model of its VRAM ledger that runs in llama.cpp's server, is loaded on request
# and evicted for every other model.
{
  config,
  lib,
  pkgs,
  barnabeeLib,
  ...
}:
let
  cfg = config.barnabee.llm;
  usesGpu = config.barnabee.gpu.enable;
in
{
  options.barnabee.llm = {
    enable = lib.mkEnableOption "a language model in the gpu service; set it for the core host too";
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
      description = "Memory that the model and its context take at most, of the GPU or without one of the gpu service; it must fit beside the preloaded models.";
      example = 4096;
    };
    contextTokens = lib.mkOption {
      type = lib.types.ints.positive;
      default = 8192;
      description = "Length of the context.";
      example = 16384;
    };
  };

  config = lib.mkIf cfg.enable {
    barnabee.system = {
      llm.provider = lib.mkDefault "gpu";
      model.llm = lib.mapAttrs (_: lib.mkDefault) {
        task = "llm";
        engine = "llama-server";
        vram_reserved_mib = 0;
        vram_peak_mib = cfg.vramMib;
        cpu_peak_mib = cfg.vramMib;
        priority = 9;
        preload = false;
        reload_cost_ms = 5000;
        lease_limit_ms = 60000;
        cpu_files = toString cfg.model;
        cuda_files = toString cfg.model;
      };
    };

    systemd.services.barnabee-gpu = lib.mkIf (barnabeeLib.runsService "gpu") {
      environment = {
        BARNABEE_LLAMA_SERVER = lib.getExe' cfg.package "llama-server";
        LLM_CONTEXT_TOKENS = toString cfg.contextTokens;
        XDG_CACHE_HOME = "/var/cache/barnabee-gpu"; # compiled shaders
      };
    };
  };
}
