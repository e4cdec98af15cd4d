# system.toml as a module: typed, overridable by any host, and asked whether it makes sense.
{ config, lib, ... }:
let
  graphs = import ../lib/system.nix;
  file = ../../system.toml;
  read = graphs.load file;
  cfg = config.barnabee;
  graph = cfg.system;
  vram = graphs.vram graph;
  nowhere = lib.filter (name: graphs.hostOf graph name == null) (lib.attrNames graph.service);
  unknown = lib.concatMap (
    name:
    lib.filter (other: !(graph.service ? ${other} || graph.companion ? ${other})) (
      graph.service.${name}.needs ++ graph.service.${name}.wants
    )
  ) (lib.attrNames graph.service);
in
{
  imports = [
    {
      _file = "system.toml";
      config.barnabee.system = lib.mapAttrsRecursiveCond (value: lib.isAttrs value) (
        _: lib.mkOverride 1400 # below what any host says, above the defaults of the tables
      ) read;
    }
  ];

  options.barnabee = {
    system = lib.mkOption {
      type = lib.types.submodule { options = (import ../lib/schema-types.nix { inherit lib; }) read; };
      description = ''
        The graph of the house: `system.toml`, loaded as a module. A host may say otherwise for any key;
        the merged result is what its services read.
      '';
      example = lib.literalExpression "{ service.api.memory_max_mib = 2048; }";
    };

    name = lib.mkOption {
      type = lib.types.str;
      default = config.networking.hostName;
      defaultText = lib.literalExpression "config.networking.hostName";
      description = "Which host of `barnabee.system.host` this machine is.";
      example = "barnabee-core";
    };

    roles = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = (graph.host.${cfg.name} or { roles = [ ]; }).roles;
      defaultText = lib.literalExpression "config.barnabee.system.host.\${config.barnabee.name}.roles";
      description = "What this machine is for; decides which services it runs.";
      example = [ "core" ];
    };
  };

  config.assertions = [
    {
      assertion = graph.host ? ${cfg.name};
      message = "barnabee.name is ${cfg.name}, which is no host of system.toml; add [host.${cfg.name}] there or set barnabee.name.";
    }
    {
      assertion = vram.peak <= vram.usable;
      message = "barnabee.system.model takes ${toString vram.peak} MiB at peak, but barnabee.system.card can give ${toString vram.usable} MiB after its headroom; lower a vram_peak_mib or remove a model.";
    }
    {
      assertion = nowhere == [ ];
      message = "barnabee.system.service.${lib.concatStringsSep ", " nowhere} runs nowhere: no host of barnabee.system.host has its role; give one host that role.";
    }
    {
      assertion = unknown == [ ];
      message = "barnabee.system.service needs or wants ${lib.concatStringsSep ", " unknown}, which is neither a service nor a companion; add or remove it.";
    }
    {
      assertion = !(lib.elem "standby" cfg.roles && lib.length cfg.roles > 1);
      message = "barnabee.roles makes ${cfg.name} its own stand-by (${lib.concatStringsSep ", " cfg.roles}); a stand-by has no other role: change barnabee.system.host.${cfg.name}.roles.";
    }
  ]
  ++ map (clash: {
    assertion = false;
    message = "barnabee.system.service.${lib.concatStringsSep " and " clash.names} have the same port ${clash.port}; change one port.";
  }) (graphs.portClashes graph);
}
