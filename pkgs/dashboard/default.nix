# The dashboard, built from src/dashboard with what package-lock.json pins by hash, and nothing that only
# tests need. Runs no package's own scripts.
{
  lib,
  buildNpmPackage,
  importNpmLock,
}:
let
  root = ../../src/dashboard;
  files = lib.fileset;
  lock = lib.importJSON (root + "/package-lock.json");
  package = removeAttrs (lib.importJSON (root + "/package.json")) [ "devDependencies" ];

  # The lock names no registry, so that it can be installed from any; hashes are what count.
  addressed =
    path: module:
    let
      name = lib.last (lib.splitString "node_modules/" path);
      file = "${baseNameOf name}-${module.version}.tgz";
    in
    if path == "" then
      removeAttrs module [ "devDependencies" ]
    else
      module // { resolved = "https://registry.npmjs.org/${name}/-/${file}"; };

  needed = lib.filterAttrs (_: module: !(module.dev or false)) lock.packages;
in
buildNpmPackage {
  pname = "barnabee-dashboard";
  inherit (package) version;
  src = files.toSource {
    inherit root;
    fileset = files.difference root (
      files.unions [
        (files.maybeMissing (root + "/node_modules"))
        (files.maybeMissing (root + "/dist"))
      ]
    );
  };

  npmDeps = importNpmLock {
    npmRoot = root;
    inherit package;
    packageLock = lock // {
      packages = lib.mapAttrs addressed needed;
    };
  };
  npmConfigHook = importNpmLock.npmConfigHook;
  npmFlags = [ "--ignore-scripts" ];

  installPhase = ''
    runHook preInstall
    cp -r dist $out
    runHook postInstall
  '';

  meta = {
    description = "The page on which one looks at the house and talks to it";
    license = lib.licenses.asl20;
    platforms = lib.platforms.linux;
  };
}
