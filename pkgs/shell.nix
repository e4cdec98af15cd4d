# Development shell: Poetry's environment, built by poetry2nix with the last nixpkgs that it supports.
{ inputs, system }:
let
  inherit (inputs.nixpkgs-py311) lib;
  # pip's manual needs sphinx; version 9 no longer supports Python 3.11.
  sphinx =
    final: prev:
    lib.optionalAttrs (prev.python.pythonVersion == "3.11") {
      sphinx =
        (final.callPackage "${inputs.nixpkgs-py311}/pkgs/development/python-modules/sphinx" {
          pythonOlder = _: false;
        }).overridePythonAttrs
          (old: rec {
            version = "8.2.3";
            src = old.src.override {
              tag = "v${version}";
              hash = "sha256-FoyCpDGDKNN2GMhE7gDpJLmWRWhbMCYlcVEaBTfXSEw=";
            };
          });
    };
  pkgs = import inputs.nixpkgs-py311 {
    inherit system;
    overlays = [
      (_: prev: { pythonPackagesExtensions = prev.pythonPackagesExtensions ++ [ sphinx ]; })
    ];
  };
  poetry2nix = inputs.poetry2nix.lib.mkPoetry2Nix { inherit pkgs; };

  environment = poetry2nix.mkPoetryEnv {
    projectDir = ../.;
    python = pkgs.python311.overrideAttrs (old: {
      passthru = old.passthru // {
        isPy2 = false; # poetry2nix reads it; nixpkgs no longer sets it
      };
    });
    extras = [ ]; # no CUDA libraries, no bundled programs
    preferWheels = true; # Rust packages no longer build from source there
    overrides = poetry2nix.defaultPoetryOverrides.extend (
      _: super: {
        # poetry2nix adds an input that nixpkgs has removed; the wheel needs none.
        mypy = super.mypy.overridePythonAttrs { buildInputs = [ ]; };
      }
    );
    editablePackageSources.barnabee = ../src;
  };
in
pkgs.mkShell {
  packages = [
    environment
    pkgs.poetry
    pkgs.litestream
    pkgs.restic
    pkgs.valkey
    pkgs.shellcheck
  ];
}
