# Secrets: encrypted in the repository (sops) or files on the host, never in the Nix store. systemd passes
# each as a credential to the services that list it.
{ config, lib, ... }:
let
  cfg = config.barnabee.secrets;
  # redis.nix generates them on the host at each boot.
  isRedisPassword = lib.hasPrefix "redis_";
  needed = lib.filter (name: !isRedisPassword name) (
    lib.subtractLists cfg.derived (lib.unique cfg.needed)
  );
  used = lib.filter (name: !lib.elem name cfg.unused) needed;
  encrypted = cfg.sopsFile != null;
in
{
  options.barnabee.secrets = {
    sopsFile = lib.mkOption {
      type = lib.types.nullOr lib.types.path;
      default = null;
      description = ''
        File with the secrets, encrypted with sops; one key for each name. Null: the secrets are the
        files of `barnabee.secrets.directory`.
      '';
      example = lib.literalExpression "../../secrets/house.yaml";
    };
    directory = lib.mkOption {
      type = lib.types.nullOr lib.types.str;
      default = "/var/lib/barnabee-secrets";
      description = "Directory with one file for each secret, readable by root, when there is no `sopsFile`; null for none.";
      example = "/run/keys";
    };
    unused = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [ ];
      description = "Secrets that do not exist here; the features that need them stay off.";
      example = [ "home_assistant_token" ];
    };
    needed = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [ ];
      internal = true;
      description = "Names of the secrets that the services of this host list.";
      example = [ "api_token" ];
    };
    used = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      internal = true;
      readOnly = true;
      description = "Names of the secrets that this host must have.";
      example = [ "api_token" ];
    };
    derived = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [
        "talk_token"
        "infer_token"
        "metrics_token"
      ];
      internal = true;
      readOnly = true;
      description = "Secrets that tokens.nix makes from `api_token` on the host itself.";
      example = [ "talk_token" ];
    };
    fileOf = lib.mkOption {
      type = lib.types.functionTo (lib.types.nullOr lib.types.str);
      internal = true;
      readOnly = true;
      description = "Path of a secret, or null when it is in `unused`.";
      example = lib.literalExpression ''name: "/run/secrets/''${name}"'';
    };
  };

  config = {
    barnabee.secrets.used = used;
    barnabee.secrets.fileOf =
      name:
      if lib.elem name cfg.unused then
        null
      else if lib.elem name cfg.derived then
        if lib.elem "api_token" cfg.unused then null else "/var/lib/barnabee-tokens/${name}"
      else if isRedisPassword name then
        "/run/barnabee-redis-passwords/${name}"
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
        message = "barnabee.secrets has no source for ${lib.concatStringsSep ", " used}: set barnabee.secrets.sopsFile or barnabee.secrets.directory, or list the secrets that you do not use in barnabee.secrets.unused.";
      }
      {
        assertion =
          !(
            lib.any (name: lib.elem name cfg.unused) [
              "b2_key_id"
              "b2_application_key"
            ]
            && lib.any (lib.hasPrefix "b2_") needed
          );
        message = "barnabee.secrets.unused leaves the replica without credentials, so the database could not be restored; remove b2_key_id and b2_application_key from it.";
      }
      {
        assertion = cfg.directory == null || !lib.hasPrefix builtins.storeDir cfg.directory;
        message = "barnabee.secrets.directory is in the Nix store, which all users can read; name a directory outside it.";
      }
    ];
  };
}
