# All NixOS modules. Every file of services/ and observe/ is imported, so a new service needs no entry here.
{ lib, ... }:
let
  filesOf = folder: map (name: folder + "/${name}") (lib.attrNames (builtins.readDir folder));
in
{
  imports = [
    ./system.nix
    ./system-checks.nix
    ./network.nix
    ./firewall.nix
    ./firewall-options.nix
    ./secrets.nix
    ./secrets-wait.nix
    ./tokens.nix
    ./lib.nix
    ./common.nix
    ./packages.nix
    ./backup.nix
    ./ops-command.nix
    ./health.nix
    ./health-role.nix
    ./standby-options.nix
    ./standby.nix
    ./standby-units.nix
    ./virtual-ip.nix
    ./gpu.nix
    ./passthrough.nix
    ./proxmox.nix
    ./deploy.nix
    ./deploy-facts.nix
    ./deploy-units.nix
    ./boot-counting.nix
    ./install-facts.nix
    ./renamed-options.nix
  ]
  ++ filesOf ./services
  ++ filesOf ./observe;
}
