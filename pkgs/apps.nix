# Programs of `nix run .#NAME`: subcommands of `barnabee` with the programs they need on PATH. They replace
# the specification's deploy-initial.sh, deploy-update.sh and rollback.sh (docs/operations.md).
{ lib, pkgs }:
let
  barnabee = pkgs.barnabee.env;
  app =
    name:
    {
      description,
      command ? [ name ],
      programs ? [ ],
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
      path = lib.optionals (programs != [ ]) [
        "--prefix"
        "PATH"
        ":"
        (lib.makeBinPath programs)
      ];
      program = pkgs.runCommand "barnabee-app-${name}" { nativeBuildInputs = [ pkgs.makeWrapper ]; } ''
        makeWrapper ${barnabee}/bin/barnabee $out/bin/${name} \
          ${lib.escapeShellArgs (settings ++ path ++ flags)}
      '';
    in
    {
      type = "app";
      program = "${program}/bin/${name}";
      meta = { inherit description; };
    };

  deployPrograms = [
    pkgs.gitMinimal
    pkgs.nix
    pkgs.openssh
    pkgs.openssl
    pkgs.sops
  ];
in
lib.mapAttrs app {
  up = {
    description = "Run the assistant on this machine's CPU with the packaged models";
    programs = [
      pkgs.rclone
      pkgs.restic
      pkgs.valkey
    ];
    environment = {
      BARNABEE_LITESTREAM = lib.getExe pkgs.barnabee-litestream;
      BARNABEE_MODELS = "${pkgs.barnabee-models-cpu}";
    };
  };
  deploy = {
    description = "Build a host's system, copy it there and switch to it; roll back unless it is healthy";
    programs = deployPrograms;
  };
  deploy-initial = {
    description = "Install a host on a machine that runs the NixOS installer; erases its disk";
    programs = deployPrograms;
  };
  check = {
    description = "Check a host's configuration before its installation: check --host beast";
    programs = deployPrograms;
  };
  facts = {
    description = "Print the host file of a machine: facts beast --on root@INSTALLER";
    programs = deployPrograms;
  };
  deploy-update = {
    description = "Alias of deploy, by the specification's name";
    command = [ "deploy" ];
    programs = deployPrograms;
  };
  rollback = {
    description = "Roll a host back to an earlier generation: rollback --on root@HOST";
    programs = deployPrograms;
  };
  accept = {
    description = "Measure the acceptance criteria of system.toml on a running deployment";
    programs = [ pkgs.valkey ];
  };
}
