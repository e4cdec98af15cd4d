# evaluate: a NixOS system from modules. All systems share `pkgs`, because another instance of nixpkgs
# doubles the evaluation time; a system that changes its packages sets `ownPackages`.
{ inputs, pkgs }:
{
  modules,
  ownPackages ? false,
}:
let
  inherit (inputs) nixpkgs self;
  sharedPackages = [
    self.nixosModules.barnabee
    nixpkgs.nixosModules.readOnlyPkgs
    { nixpkgs = { inherit pkgs; }; }
  ];
in
nixpkgs.lib.nixosSystem {
  specialArgs = { inherit inputs; };
  modules = (if ownPackages then [ self.nixosModules.default ] else sharedPackages) ++ modules;
}
