# Secrets of the guests: the hypervisor passes each guest the secrets it uses as systemd credentials. A guest
# whose secrets are missing is not started; barnabee-secrets starts it when they are there.
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
  unitOf = guest: if guests.${guest}.kind == "vm" then "microvm@${guest}" else "container@${guest}";
  # Those that the guest uses and this host has.
  passed = guest: lib.filter (name: secrets.fileOf name != null) (usedBy guest);
  credentials = guest: map (name: "${name}:${secrets.fileOf name}") (passed guest);
in
{
  config = lib.mkIf (guests != { }) {
    barnabee.secrets.needed = lib.concatMap usedBy (lib.attrNames guests);
    barnabee.secrets.guests = lib.mapAttrs' (
      guest: _: lib.nameValuePair "${unitOf guest}.service" (passed guest)
    ) guests;

    containers = lib.mapAttrs (guest: _: {
      extraFlags = map (credential: "--load-credential=${credential}") (credentials guest);
    }) (guestsOfKind "container");

    systemd.services = lib.mkMerge [
      (lib.mapAttrs' (
        guest: _:
        lib.nameValuePair (unitOf guest) {
          # `systemctl status` and the journal name the file that is missing.
          unitConfig.ConditionPathExists = map secrets.fileOf (passed guest);
        }
      ) guests)

      # qemu loads them as credentials of its own unit and passes them to the VM.
      (lib.mapAttrs' (
        guest: _:
        lib.nameValuePair (unitOf guest) {
          overrideStrategy = "asDropin";
          serviceConfig.LoadCredential = credentials guest;
        }
      ) (guestsOfKind "vm"))
    ];
  };
}
