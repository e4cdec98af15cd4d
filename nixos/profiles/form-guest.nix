# Guest of a NixOS hypervisor, whose system and secrets it is part of.
{
  barnabee.deploy.enable = false; # part of the hypervisor's system
  # The hypervisor passes the secrets (modules/guest-secrets.nix); the guest has no sops key.
  barnabee.secrets = {
    sopsFile = null;
    directory = "/run/credentials/@system";
  };
}
