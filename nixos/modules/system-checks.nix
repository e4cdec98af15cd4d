# Assertions about the merged system.toml. core/graph.py has the same for the file.
{ config, lib, ... }:
let
  graphLib = import ../lib/system.nix;
  cfg = config.barnabee;
  graph = cfg.system;
  vram = graphLib.vram graph;
  unplaced = lib.filter (name: graphLib.hostOf graph name == null) (lib.attrNames graph.service);
  unknown = lib.concatMap (
    name:
    lib.filter (other: !(graph.service ? ${other} || graph.companion ? ${other})) (
      graph.service.${name}.needs ++ graph.service.${name}.wants
    )
  ) (lib.attrNames graph.service);
in
{
  config.assertions = [
    {
      assertion = graph.host ? ${cfg.name};
      message = "barnabee.name is ${cfg.name}, which is not a host of system.toml; add [host.${cfg.name}] there or set barnabee.name.";
    }
    {
      assertion = vram.peak <= vram.usable;
      message = "barnabee.system.model takes ${toString vram.peak} MiB at peak, but barnabee.system.gpu has ${toString vram.usable} MiB after its headroom; lower a vram_peak_mib.";
    }
    {
      assertion = vram.tooLarge == [ ];
      message = "barnabee.system.model.${lib.concatStringsSep ", " vram.tooLarge} does not fit into the ${toString vram.left} MiB that the preloaded models leave of barnabee.system.gpu; use a smaller model or context and lower barnabee.llm.vramMib.";
    }
    {
      assertion = unplaced == [ ];
      message = "barnabee.system.service.${lib.concatStringsSep ", " unplaced} runs on no host: no host of barnabee.system.host has its role; give one host that role.";
    }
    {
      assertion = unknown == [ ];
      message = "barnabee.system.service needs or wants ${lib.concatStringsSep ", " unknown}, which is neither a service nor a companion; add or remove it.";
    }
    {
      assertion = !(lib.elem "standby" cfg.roles && lib.length cfg.roles > 1);
      message = "barnabee.roles of ${cfg.name} are ${lib.concatStringsSep ", " cfg.roles}, but a standby has no other role; change barnabee.system.host.${cfg.name}.roles.";
    }
  ]
  ++ map (conflict: {
    assertion = false;
    message = "barnabee.system.service.${lib.concatStringsSep " and " conflict.names} have the same port ${conflict.port}; change one port.";
  }) (graphLib.portConflicts graph);
}
