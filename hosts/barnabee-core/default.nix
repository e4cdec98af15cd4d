# API, voice, Redis, workers, the database and its replica, the reverse proxy.
{
  imports = [
    ../../nixos/profiles/base.nix
    ../../nixos/profiles/core.nix
  ];
  networking.hostName = "barnabee-core";
}
