# Dashboard, built from src/dashboard with the packages of package-lock.json, without development
# dependencies and without install scripts.
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

  # package-lock.json has hashes and no URLs, so that any registry can serve it.
  withUrl =
    path: module:
    let
      name = lib.last (lib.splitString "node_modules/" path);
      file = "${baseNameOf name}-${module.version}.tgz";
    in
    if path == "" then
      removeAttrs module [ "devDependencies" ]
    else
      module // { resolved = "https://registry.npmjs.org/${name}/-/${file}"; };

  # npm's selectors; a module without one runs everywhere.
  isForThisPlatform =
    module:
    lib.elem "linux" (module.os or [ "linux" ])
    && lib.elem "x64" (module.cpu or [ "x64" ])
    && lib.elem "glibc" (module.libc or [ "glibc" ]);
  modules = lib.filterAttrs (
    _: module: !(module.dev or module.devOptional or false) && isForThisPlatform module
  ) lock.packages;
  # npm looks up a dependency that has no entry in the lock, which fails offline.
  withoutOtherPlatforms =
    module:
    module
    // lib.optionalAttrs (module ? optionalDependencies) {
      optionalDependencies = lib.filterAttrs (
        name: _: modules ? "node_modules/${name}"
      ) module.optionalDependencies;
    };
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
      packages = lib.mapAttrs (path: module: withUrl path (withoutOtherPlatforms module)) modules;
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
    description = "Dashboard of BarnabeeNet";
    license = lib.licenses.asl20;
    platforms = lib.platforms.linux;
  };
}
