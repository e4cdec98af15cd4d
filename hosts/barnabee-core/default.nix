# API, voice, Redis, workers, the database and its replica, the door.
{
  imports = [
    ../../nixos/profiles/base.nix
    ../../nixos/profiles/core.nix
  ];
  networking.hostName = "barnabee-core";
}
