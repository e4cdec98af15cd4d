{
  description = "BarnabeeNet: a family's voice assistant that heals itself, rolls itself back and proves its backup";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";
    # poetry2nix has not followed nixpkgs since 25.11; it makes the development shell and nothing else.
    nixpkgs-py311.url = "github:NixOS/nixpkgs/nixos-25.11";
    poetry2nix.url = "github:nix-community/poetry2nix";
    poetry2nix.inputs.nixpkgs.follows = "nixpkgs-py311";
    nixos-generators.url = "github:nix-community/nixos-generators";
    nixos-generators.inputs.nixpkgs.follows = "nixpkgs";
    microvm.url = "github:microvm-nix/microvm.nix";
    microvm.inputs.nixpkgs.follows = "nixpkgs";
    sops-nix.url = "github:Mic92/sops-nix";
    sops-nix.inputs.nixpkgs.follows = "nixpkgs";
    disko.url = "github:nix-community/disko";
    disko.inputs.nixpkgs.follows = "nixpkgs";
  };

  outputs =
    inputs@{ self, nixpkgs, ... }:
    let
      inherit (nixpkgs) lib;
      system = "x86_64-linux"; # the card, its driver and every wheel that is pinned
      packages = {
        overlays = [ self.overlays.default ];
        config.allowUnfreePredicate = import ./pkgs/unfree.nix { inherit lib; };
      };
      pkgs = import nixpkgs (packages // { inherit system; });
      evaluate = import ./nixos/lib/evaluate.nix { inherit inputs pkgs; };
      optionsText = import ./pkgs/options.nix {
        inherit lib;
        inherit (self.nixosConfigurations.beast) options; # it has the modules of all
      };
      images = import ./pkgs/images {
        inherit
          evaluate
          inputs
          lib
          pkgs
          system
          ;
      };
    in
    {
      nixosConfigurations = import ./nixos/lib/machines.nix { inherit evaluate lib; };

      nixosModules.house.imports = [
        ./nixos/modules
        inputs.sops-nix.nixosModules.sops
        inputs.disko.nixosModules.disko
      ];
      # For a flake whose packages do not have the overlay.
      nixosModules.default = {
        imports = [ self.nixosModules.house ];
        nixpkgs = packages // {
          hostPlatform = lib.mkDefault system;
        };
      };

      overlays.default = import ./pkgs;

      packages.${system} = images // {
        inherit (pkgs)
          barnabee
          barnabee-cuda
          barnabee-dashboard
          barnabee-fillers
          barnabee-litestream
          barnabee-models-cpu
          barnabee-models-cuda
          ;
        default = pkgs.barnabee;
        proxmox-battleserver = self.nixosConfigurations.battleserver.config.system.build.proxmox;
        options-md = pkgs.writeText "options.md" optionsText // {
          text = optionsText;
        };
      };

      apps.${system} = import ./pkgs/apps.nix { inherit lib pkgs; };

      # Booted by `nix flake check`: every test of tests/vm, by its name.
      checks.${system} = lib.genAttrs [
        "alert-delivery"
        "degradation"
        "failover"
        "health-cascade"
        "litestream-restore"
        "log-query"
        "network"
        "rollback"
        "secrets"
      ] (name: import (./tests/vm + "/${name}.nix") { inherit inputs pkgs self; });

      devShells.${system}.default = import ./pkgs/shell.nix { inherit inputs system; };

      formatter.${system} = pkgs.nixfmt-tree;
    };
}
