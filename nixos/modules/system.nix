# `barnabee.system`: system.toml as typed options that a host can override.
{ config, lib, ... }:
let
  graphLib = import ../lib/system.nix;
  inherit (import ../lib/renamed-keys.nix { inherit lib; }) renameKeys;
  defaults = graphLib.loadFile ../../system.toml;
  cfg = config.barnabee;
  graph = cfg.system;
in
{
  imports = [
    {
      _file = "system.toml";
      config.barnabee.system = lib.mapAttrsRecursiveCond (value: lib.isAttrs value) (
        _: lib.mkOverride 1400 # weaker than any definition of a host, stronger than option defaults
      ) defaults;
    }
  ];

  options.barnabee = {
    system = lib.mkOption {
      type = lib.types.coercedTo lib.types.attrs renameKeys (
        lib.types.submodule { options = (import ../lib/schema-types.nix { inherit lib; }) defaults; }
      );
      description = ''
        The service graph: `system.toml` as options. A host may override any key; its services read the
        merged result.
      '';
      example = lib.literalExpression "{ service.api.memory_max_mib = 2048; }";
    };

    name = lib.mkOption {
      type = lib.types.str;
      default = config.networking.hostName;
      defaultText = lib.literalExpression "config.networking.hostName";
      description = "Name of this host in `barnabee.system.host`.";
      example = "barnabee-core";
    };

    roles = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = (graph.host.${cfg.name} or { roles = [ ]; }).roles;
      defaultText = lib.literalExpression "config.barnabee.system.host.\${config.barnabee.name}.roles";
      description = "Roles of this host, which decide the services it runs.";
      example = [ "core" ];
    };
  };
}
