# The checks of the flake: each NAME.nix with a script NAME.py. NAME.nix is a function that returns `machines` and
# `constants` of the script (or a function of the evaluated machines). The machines are systemd-nspawn containers, which
# need no KVM, unless `virtual` says that they need their own kernel.
{
  self,
  inputs,
  pkgs,
}:
let
  inherit (pkgs) lib;
  graph = builtins.fromTOML (builtins.readFile ../../system.toml);
  machines = import ./machines.nix { inherit self; };
  files = builtins.readDir ./.;
  names = lib.filter (name: files ? "${name}.py") (
    map (lib.removeSuffix ".nix") (lib.attrNames files)
  );

  # JSON of numbers, texts, lists and objects is Python.
  assign = lib.concatMapAttrsStringSep "" (name: value: "${name} = ${builtins.toJSON value}\n");
  limits = lib.mapAttrs' (name: lib.nameValuePair (lib.toUpper name)) graph.acceptance;
  common = evaluated: {
    SECRET = machines.secret;
    SWITCH_S = graph.deploy.switch_s;
    ADDRESS = lib.mapAttrs (_: machine: machine.networking.primaryIPAddress) evaluated;
    PORT = lib.mapAttrs (_: service: service.port) (
      lib.filterAttrs (_: service: service ? port) (graph.companion // graph.service)
    );
  };

  makeTest =
    name:
    let
      test = import (./. + "/${name}.nix") {
        inherit
          graph
          lib
          machines
          pkgs
          self
          ;
      };
      virtual = test.virtual or false;
    in
    pkgs.testers.runNixOSTest {
      inherit name;
      node.specialArgs = { inherit inputs; };
      ${if virtual then "nodes" else "containers"} = test.machines;
      requiredFeatures.kvm = virtual;
      # The host name is too long for the names of the driver's interfaces.
      containerDefaults =
        { config, ... }:
        {
          system.name = config.virtualisation.test.nodeName;
          security.enableWrappers = false; # Nix allows no set-uid files in a build
        };
      testScript =
        { nodes, containers, ... }:
        assign (limits // common (nodes // containers))
        + assign (lib.toFunction (test.constants or { }) (nodes // containers))
        + builtins.readFile ./prelude.py
        + builtins.readFile (./. + "/${name}.py");
    };
in
lib.genAttrs names makeTest
