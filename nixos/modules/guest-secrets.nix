# Secrets of the guests: the hypervisor passes each guest the secrets it uses as systemd credentials.
{
  config,
  inputs,
  lib,
  ...
}:
let
  inherit (config.barnabee) guests secrets;
  usedBy = guest: inputs.self.nixosConfigurations.${guest}.config.barnabee.secrets.used;
  guestsOfKind = kind: lib.filterAttrs (_: guest: guest.kind == kind) guests;
  # "name:file" of every secret that the guest uses and this host has.
  credentials =
    guest:
    map (name: "${name}:${secrets.fileOf name}") (
      lib.filter (name: secrets.fileOf name != null) (usedBy guest)
    );
in
{
  config = lib.mkIf (guests != { }) {
    barnabee.secrets.needed = lib.concatMap usedBy (lib.attrNames guests);

    containers = lib.mapAttrs (guest: _: {
      extraFlags = map (credential: "--load-credential=${credential}") (credentials guest);
    }) (guestsOfKind "container");

    # qemu loads them as credentials of its own unit and passes them to the VM.
    systemd.services = lib.mapAttrs' (
      guest: _:
      lib.nameValuePair "microvm@${guest}" {
        overrideStrategy = "asDropin";
        serviceConfig.LoadCredential = credentials guest;
      }
    ) (guestsOfKind "vm");
  };
}
