# Inference on the GPU: speech to text, text to speech, embeddings, wake words.
{
  imports = [
    ../../nixos/profiles/base.nix
    ../../nixos/profiles/gpu.nix
  ];
  networking.hostName = "barnabee-gpu";
}
