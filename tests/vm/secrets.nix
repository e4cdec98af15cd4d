# Secrets: values created at run time appear only in the credentials of their services.
{
  self,
  inputs,
  pkgs,
}:
let
  machines = import ./machines.nix { inherit self; };
  graph = self.nixosConfigurations.barnabee-core.config.barnabee.system; # with defaults
  inherit (pkgs) lib;
  core = lib.filterAttrs (_: node: node.role == "core") graph.service;
in
pkgs.testers.runNixOSTest {
  name = "secrets";
  node.specialArgs = { inherit inputs; };
  nodes = {
    inherit (machines) backup gpu;
    core.imports = [
      machines.core
      { barnabee.health.start = false; } # the script creates the secrets first
    ];
  };
  testScript = ''
    import json
    CREDENTIALS = json.loads('${builtins.toJSON (lib.mapAttrs (_: node: node.credentials) core)}')
    UNUSED = {"azure_openai_key", "llm_api_key", "home_assistant_token", "snapshot_key", "rclone_conf"}
    ADDED = {"redis": {"redis_exporter_password"}}
    UNUSED |= {"talk_token", "infer_token", "metrics_token"}  # in /run/barnabee-tokens
    FOLDER = "/var/lib/barnabee-secrets"
    HEALTHY_S = ${toString graph.acceptance.healthy_s}
  ''
  + builtins.readFile ./secrets.py;
}
