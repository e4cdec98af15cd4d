# Secrets: encrypted in the repository (sops) or files on the machine; never in the store, and each
# given by systemd to the one service that names it.
{ config, lib, ... }:
let
  cfg = config.barnabee.secrets;
  wanted = lib.unique cfg.needed;
  used = lib.filter (name: !lib.elem name cfg.unused) wanted;
  encrypted = cfg.sopsFile != null;
in
{
  options.barnabee.secrets = {
    sopsFile = lib.mkOption {
      type = lib.types.nullOr lib.types.path;
      default = null;
      description = ''
        The file with the secrets of the house, encrypted with sops; one key for each name. Without one
        the secrets are the files of `barnabee.secrets.directory`.
      '';
      example = lib.literalExpression "../../secrets/house.yaml";
    };
    directory = lib.mkOption {
      type = lib.types.nullOr lib.types.str;
      default = "/var/lib/barnabee-secrets";
      description = "Where root keeps one file for each secret when there is no `sopsFile`; null for nowhere.";
      example = "/run/keys";
    };
    unused = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [ ];
      description = "Secrets that this house does without; what they are for stays off.";
      example = [ "azure_openai_key" ];
    };
    needed = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [ ];
      internal = true;
      description = "The names that the services of this machine ask for.";
      example = [ "api_token" ];
    };
    used = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      internal = true;
      readOnly = true;
      description = "The names that this machine must have.";
      example = [ "api_token" ];
    };
    fileOf = lib.mkOption {
      type = lib.types.functionTo (lib.types.nullOr lib.types.str);
      internal = true;
      readOnly = true;
      description = "The file of a secret, or null when the house does without it.";
      example = lib.literalExpression ''name: "/run/secrets/''${name}"'';
    };
  };

  config = {
    barnabee.secrets.used = used;
    barnabee.secrets.fileOf =
      name:
      if lib.elem name cfg.unused then
        null
      else if encrypted then
        config.sops.secrets.${name}.path
      else
        "${toString cfg.directory}/${name}";

    sops = lib.mkIf encrypted {
      defaultSopsFile = cfg.sopsFile;
      age.keyFile = lib.mkDefault "/var/lib/sops-nix/key.txt";
      age.sshKeyPaths = lib.mkDefault [ ];
      gnupg.sshKeyPaths = lib.mkDefault [ ];
      secrets = lib.genAttrs used (_: { });
    };

    systemd.tmpfiles.rules = lib.optional (
      !encrypted && cfg.directory != null && !lib.hasPrefix "/run/" cfg.directory
    ) "d ${cfg.directory} 0700 root root -";

    assertions = [
      {
        assertion = used == [ ] || encrypted || cfg.directory != null;
        message = "barnabee.secrets gives nobody ${lib.concatStringsSep ", " used}: set barnabee.secrets.sopsFile or barnabee.secrets.directory, or list what you do without in barnabee.secrets.unused.";
      }
      {
        assertion =
          !(
            lib.any (name: lib.elem name cfg.unused) [
              "b2_key_id"
              "b2_application_key"
            ]
            && lib.any (lib.hasPrefix "b2_") wanted
          );
        message = "barnabee.secrets.unused leaves the replica without credentials; keep b2_key_id and b2_application_key, or nothing brings the database back.";
      }
    ]
    ++ map (name: {
      assertion = cfg.directory == null || !lib.hasPrefix builtins.storeDir cfg.directory;
      message = "barnabee.secrets.directory is in the store, which everybody can read; name a directory outside it.";
    }) (lib.optional (cfg.directory != null) cfg.directory);
  };
}
