# Data directory, users and environment that all services of a host share.
{
  config,
  lib,
  barnabeeLib,
  ...
}:
let
  inherit (barnabeeLib) graph localServices;
  cfg = config.barnabee;
  serviceUsers = map (service: "barnabee-${service}") localServices;
in
{
  options.barnabee = {
    dataDir = lib.mkOption {
      type = lib.types.path;
      default = "/data";
      description = "Directory of the database and of everything stored beside it.";
      example = "/srv/barnabee";
    };
    settings = lib.mkOption {
      type = lib.types.attrsOf lib.types.str;
      default = { };
      description = "Further environment variables of the services, as `core/settings.py` names them. No secrets.";
      example = {
        HOME_ASSISTANT_URL = "http://homeassistant.local:8123";
      };
    };
  };

  config = lib.mkMerge [
    {
      barnabee.secrets.needed = lib.subtractLists barnabeeLib.unusedLlmKeys (
        lib.concatMap (service: graph.service.${service}.credentials) localServices
      );
    }

    (lib.mkIf (localServices != [ ]) {
      users.groups = {
        barnabee = { };
      }
      // lib.genAttrs serviceUsers (_: { });
      users.users = lib.genAttrs serviceUsers (user: {
        isSystemUser = true;
        group = user;
      });

      # A group owns the database: litestream writes files beside it (docs/reference/store.md).
      systemd.tmpfiles.rules = [ "d ${cfg.dataDir} 2770 root barnabee -" ];

      systemd.slices.barnabee.description = "BarnabeeNet";
      environment.systemPackages = [ cfg.package ];
    })
  ];
}
