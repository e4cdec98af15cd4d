# Facts about a host that `barnabee check --host` and `deploy-initial` read before anything is erased
# (src/barnabee/deploy/host_check.py).
{
  config,
  inputs,
  lib,
  options,
  barnabeeLib,
  ...
}:
let
  cfg = config.barnabee;
  inherit (config.users) users;
  passthrough = cfg.passthrough or { enable = false; };
  coreHost = barnabeeLib.graphLib.hostOf barnabeeLib.graph "api";
  optionAt = name: lib.attrByPath (lib.splitString "." name) null options;
  failedOf =
    host: map (failure: failure.message) (lib.filter (check: !check.assertion) host.assertions);
  hasKeys = user: user.openssh.authorizedKeys.keys ++ user.openssh.authorizedKeys.keyFiles != [ ];
  isAdmin = user: user.uid == 0 || lib.elem "wheel" user.extraGroups;
in
{
  options.barnabee.placeholders = lib.mkOption {
    type = lib.types.listOf lib.types.str;
    default = [ ];
    description = "Options that still have an example's value; `barnabee check --host` and `deploy-initial` refuse the host.";
    example = [ "barnabee.disk" ];
  };
  options.barnabee.installFacts = lib.mkOption {
    type = lib.types.attrsOf lib.types.anything;
    internal = true;
    readOnly = true;
    description = "Facts for the installation.";
    example = { };
  };

  config.barnabee.installFacts = {
    disk = cfg.disk or null;
    interfaces = lib.filter (name: name != null) (
      [
        cfg.uplink
        cfg.network.interface
      ]
      ++ (cfg.bridgePorts or [ ])
    );
    gpu = lib.optionals passthrough.enable (
      lib.zipListsWith (address: id: { inherit address id; }) passthrough.addresses passthrough.ids
    );
    cpu = if passthrough.enable then passthrough.iommu else null;
    placeholders = lib.genAttrs cfg.placeholders (
      name: if optionAt name == null then null else builtins.toJSON (optionAt name).value
    );
    has_login = lib.any (user: isAdmin user && hasKeys user) (lib.attrValues users);
    failed =
      failedOf config
      ++ lib.concatMap (
        guest: map (text: "${guest}: ${text}") (failedOf inputs.self.nixosConfigurations.${guest}.config)
      ) (lib.attrNames (cfg.guests or { }));
    encrypted = cfg.secrets.sopsFile != null;
    key_file = "/var/lib/sops-nix/key.txt";
    secrets_directory = cfg.secrets.directory;
    secrets = cfg.secrets.used;
    # It or its guest is the host whose token and certificate the others have too.
    is_primary = cfg.name == coreHost || (cfg.guests or { }) ? ${toString coreHost};
    # Names and addresses of the page, for a certificate.
    page_hosts =
      lib.optional (cfg.standby.virtualIp != null) (lib.head (lib.splitString "/" cfg.standby.virtualIp))
      ++ lib.attrValues (lib.filterAttrs (host: _: host == cfg.name) cfg.standby.lanAddresses)
      ++ [ "barnabee.local" ];
  };
}
