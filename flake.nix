{
  description = "BarnabeeNet: a family's voice assistant with health checks, automatic rollback and tested backups";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";
    # poetry2nix supports nixpkgs up to 25.11; only the development shell uses it.
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
      system = "x86_64-linux"; # platform of the GPU driver and of the pinned wheels
      packages = {
        overlays = [ self.overlays.default ];
        config.allowUnfreePredicate = import ./pkgs/unfree.nix { inherit lib; };
      };
      pkgs = import nixpkgs (packages // { inherit system; });
      evaluate = import ./nixos/lib/evaluate.nix { inherit inputs pkgs; };
      optionsText = import ./pkgs/options.nix {
        inherit lib;
        inherit (self.nixosConfigurations.beast) options; # a hypervisor has all modules
      };
      images = import ./pkgs/images {
        inherit lib pkgs;
        machines = self.nixosConfigurations;
      };
    in
    {
      nixosConfigurations = import ./nixos/lib/machines.nix { inherit evaluate lib; };

      nixosModules.barnabee.imports = [
        ./nixos/modules
        inputs.sops-nix.nixosModules.sops
        inputs.disko.nixosModules.disko
      ];
      # Also sets the overlay and the platform.
      nixosModules.default = {
        imports = [ self.nixosModules.barnabee ];
        nixpkgs = packages // {
          hostPlatform = lib.mkDefault system;
        };
      };
      # The old name, kept for one release.
      nixosModules.house = lib.warn "nixosModules.house is now called barnabee" self.nixosModules.barnabee;

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

      # Containers and a virtual machine, booted by `nix flake check`.
      checks.${system} = import ./tests/vm { inherit inputs pkgs self; };

      devShells.${system}.default = import ./pkgs/shell.nix { inherit inputs system; };
      formatter.${system} = pkgs.nixfmt-tree;
    };
}
