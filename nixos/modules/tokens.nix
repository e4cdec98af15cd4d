# Tokens of the services by scope, derived from `api_token` on every host, so that hosts agree without more
# secrets. A service reads its own from /run/barnabee-tokens/<service>, where they may be replaced while it runs.
{
  config,
  lib,
  pkgs,
  barnabeeLib,
  ...
}:
let
  inherit (barnabeeLib) graph localServices;
  inherit (config.barnabee) secrets;
  state = "/var/lib/barnabee-tokens";
  copies = "/run/barnabee-tokens";
  user = "barnabee-tokens";
  admin = "api_token";
  isMonitoring = lib.elem "monitoring" config.barnabee.roles;
  ours = lib.filter (service: graph.service.${service}.module != null) localServices;
  tokensOf = node: lib.filter (name: lib.elem name secrets.derived) node.credentials;
  holders =
    lib.genAttrs ours (service: {
      group = "barnabee-${service}";
      files = [ "tokens.json" ] ++ tokensOf graph.service.${service};
    })
    // lib.optionalAttrs isMonitoring {
      prometheus = {
        group = "prometheus";
        files = tokensOf graph.companion.prometheus;
      };
    };
  files = lib.concatLists (
    lib.mapAttrsToList (holder: { files, ... }: map (file: "${holder}/${file}") files) holders
  );
  # Needs no package of ours, so that the monitoring host does not get one.
  source = lib.fileset.toSource {
    root = ../../src;
    fileset = lib.fileset.unions [
      ../../src/barnabee/__init__.py
      ../../src/barnabee/core
    ];
  };
  command = "${pkgs.python3}/bin/python3 -m barnabee.core.tokens --admin-token-file \${CREDENTIALS_DIRECTORY}/${admin} --directory ${state} --copies ${copies}";
  unit = {
    environment.PYTHONPATH = "${source}";
    environment.PYTHONDONTWRITEBYTECODE = "1";
    serviceConfig = import ../lib/hardening.nix // {
      Type = "oneshot";
      User = user;
      Group = user;
      LoadCredential = [ "${admin}:${secrets.fileOf admin}" ];
      StateDirectory = user;
      StateDirectoryMode = "0700";
      ReadWritePaths = [ copies ];
      IPAddressDeny = "any";
      MemoryMax = "128M";
    };
  };
in
{
  config = lib.mkIf (holders != { } && secrets.fileOf admin != null) {
    barnabee.secrets.needed = [ admin ];
    users.groups.${user} = { };
    users.users.${user} = {
      isSystemUser = true;
      group = user;
    };
    # The files in a directory with setgid are for its group, which is the service's own.
    systemd.tmpfiles.rules = [
      "d ${copies} 0755 ${user} ${user} -"
    ]
    ++ lib.mapAttrsToList (holder: { group, ... }: "d ${copies}/${holder} 2750 ${user} ${group} -") holders;

    systemd.services.barnabee-tokens = lib.recursiveUpdate unit {
      description = "BarnabeeNet: tokens of the services";
      wantedBy = [ "multi-user.target" ];
      startLimitIntervalSec = 0;
      serviceConfig.RemainAfterExit = true;
      serviceConfig.Restart = "on-failure";
      serviceConfig.RestartSec = 10;
      serviceConfig.ExecStart = "${command} --create ${lib.concatStringsSep " " files}";
    };
    # `systemctl start barnabee-tokens-rotate@infer` on every host, the callers' first.
    systemd.services."barnabee-tokens-rotate@" = lib.recursiveUpdate unit {
      description = "BarnabeeNet: new %i token";
      after = [ "barnabee-tokens.service" ];
      requires = [ "barnabee-tokens.service" ];
      serviceConfig.ExecStart = "${command} --rotate %i";
    };
  };
}
