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
      {
        # The script creates the secrets first; no gate waits for services until then.
        barnabee.health.start = false;
        barnabee.deploy.enable = false;
      }
    ];
  };
  constants = {
    CREDENTIALS = lib.mapAttrs (_: service: service.credentials) (
      lib.filterAttrs (_: service: service.role == "core") graph.service
    );
    FOLDER = "/var/lib/barnabee-secrets";
  };
}
