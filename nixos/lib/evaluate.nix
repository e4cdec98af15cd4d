# A system out of modules. All share `pkgs`, for one more instance of nixpkgs costs as much as the
# machine itself; who changes its packages has its own.
{ inputs, pkgs }:
{
  modules,
  ownPackages ? false,
}:
let
  inherit (inputs) nixpkgs self;
  shared = [
    self.nixosModules.house
    nixpkgs.nixosModules.readOnlyPkgs
    { nixpkgs = { inherit pkgs; }; }
  ];
in
nixpkgs.lib.nixosSystem {
  specialArgs = { inherit inputs; };
  modules = (if ownPackages then [ self.nixosModules.default ] else shared) ++ modules;
}
