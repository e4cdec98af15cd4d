# The programs of `nix run .#NAME`: `barnabee` with what it needs beside it. The specification's
# deploy-initial.sh, deploy-update.sh and rollback.sh are three of them (docs/operations.md).
{ lib, pkgs }:
let
  barnabee = pkgs.barnabee.env;
  app =
    name:
    {
      does,
      command ? [ name ],
      needs ? [ ],
      environment ? { },
    }:
    let
      settings = lib.concatMap (key: [
        "--set-default"
        key
        environment.${key}
      ]) (lib.attrNames environment);
      flags = lib.concatMap (word: [
        "--add-flags"
        word
      ]) command;
      path = lib.optionals (needs != [ ]) [
        "--prefix"
        "PATH"
        ":"
        (lib.makeBinPath needs)
      ];
      program = pkgs.runCommand "barnabee-app-${name}" { nativeBuildInputs = [ pkgs.makeWrapper ]; } ''
        makeWrapper ${barnabee}/bin/barnabee $out/bin/${name} \
          ${lib.escapeShellArgs (settings ++ path ++ flags)}
      '';
    in
    {
      type = "app";
      program = "${program}/bin/${name}";
      meta.description = does;
    };

  deploying = [
    pkgs.gitMinimal
    pkgs.nix
    pkgs.openssh
  ];
in
lib.mapAttrs app {
  up = {
    does = "The whole assistant on this machine, on its processor, with the packaged models";
    needs = [
      pkgs.rclone
      pkgs.valkey
    ];
    environment = {
      BARNABEE_LITESTREAM = lib.getExe pkgs.barnabee-litestream;
      BARNABEE_MODELS = "${pkgs.barnabee-models-cpu}";
    };
  };
  deploy = {
    does = "Build a host's system, copy it there and switch to it; it goes back unless it is well";
    needs = deploying;
  };
  deploy-initial = {
    does = "Erase a machine that runs the NixOS installer, and install a host on it";
    needs = deploying;
  };
  deploy-update = {
    does = "The same as deploy, by the specification's name";
    command = [ "deploy" ];
    needs = deploying;
  };
  rollback = {
    does = "Take a host back to an earlier generation: rollback --on root@HOST";
    needs = deploying;
  };
  accept = {
    does = "Measure the promises of system.toml on a running house";
    needs = [ pkgs.valkey ];
  };
}
