# The development shell: Poetry's environment, built by poetry2nix against the last nixpkgs it follows.
{ inputs, system }:
let
  pkgs = import inputs.nixpkgs-py311 { inherit system; };
  poetry2nix = inputs.poetry2nix.lib.mkPoetry2Nix { inherit pkgs; };
  environment = poetry2nix.mkPoetryEnv {
    projectDir = ../.;
    python = pkgs.python311;
    preferWheels = true; # Rust packages no longer build from source there
    extras = [ ];
    editablePackageSources.barnabee = ../src;
  };
in
environment.env.overrideAttrs (_: {
  nativeBuildInputs = [
    environment
    pkgs.poetry
    pkgs.litestream
    pkgs.valkey
    pkgs.shellcheck
  ];
})
