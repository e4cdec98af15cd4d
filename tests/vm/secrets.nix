# Secrets: values created at run time appear only in the credentials of their services.
{
  lib,
  machines,
  self,
  ...
}:
let
  graph = self.nixosConfigurations.barnabee-core.config.barnabee.system; # with defaults
in
{
  machines = {
    inherit (machines) backup gpu;
    core.imports = [
      machines.core
      { barnabee.health.start = false; } # the script creates the secrets first
    ];
  };
  constants = {
    CREDENTIALS = lib.mapAttrs (_: service: service.credentials) (
      lib.filterAttrs (_: service: service.role == "core") graph.service
    );
    FOLDER = "/var/lib/barnabee-secrets";
  };
}
