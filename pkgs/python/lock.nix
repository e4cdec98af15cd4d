# Parsed poetry.lock: for each package the one file that Python 3.11 on x86_64 Linux installs, with its
# hash. Evaluation only; fetches nothing.
{ lib }:
let
  read = file: (builtins.fromTOML (builtins.readFile file)).package;
  locked = read ../../poetry.lock ++ read ./gpu.toml;

  # name-version-python-abi-platform.whl. No file of this lock has a build number (tests/nix checks).
  parts =
    entry:
    let
      found = builtins.match "([^-]+)-([^-]+)-([^-]+)-([^-]+)-([^-]+)[.]whl" entry.file;
    in
    if found == null then
      null
    else
      {
        inherit (entry) file hash;
        pname = lib.elemAt found 0;
        version = lib.elemAt found 1;
        python = lib.elemAt found 2;
        abi = lib.elemAt found 3;
        platform = lib.elemAt found 4;
      };

  # Lower is better; null is incompatible.
  rank =
    wheel:
    let
      linux = lib.hasInfix "manylinux" wheel.platform && lib.hasInfix "x86_64" wheel.platform;
      anyPlatform = wheel.platform == "any";
      stable = builtins.match "cp3([0-9]|1[01])" wheel.python != null && wheel.abi == "abi3";
      pure = lib.elem "py3" (lib.splitString "." wheel.python) && wheel.abi == "none";
    in
    if linux && wheel.python == "cp311" && wheel.abi == "cp311" then
      0
    else if linux && stable then
      1
    else if linux && pure then
      2
    else if anyPlatform && pure then
      3
    else
      null;

  best =
    package:
    let
      wheels = lib.filter (wheel: wheel != null && rank wheel != null) (map parts package.files);
      sorted = lib.sort (a: b: rank a < rank b) wheels;
    in
    if sorted != [ ] then lib.head sorted else null;

  source =
    package:
    let
      found = lib.filter (entry: lib.hasSuffix ".tar.gz" entry.file) package.files;
    in
    if found != [ ] then
      lib.head found
    else
      throw "poetry.lock has no file of ${package.name} for Linux";

  # The names in a requirements file, less those for other systems or other Pythons.
  names =
    file:
    let
      lines = lib.splitString "\n" (builtins.readFile file);
      entry = line: builtins.match "([a-z0-9-]+)([[][^]]*[]])?==([^ ;]+)(.*)" line;
      isForOtherSystem =
        rest:
        lib.any (marker: lib.hasInfix marker rest) [
          "sys_platform == 'win32'"
          "sys_platform == 'emscripten'"
          "python_full_version < '3.11.3'"
          "python_full_version >= '3.1"
        ];
      chosen = lib.filter (found: found != null && !isForOtherSystem (lib.elemAt found 3)) (
        map entry lines
      );
    in
    map lib.head chosen;
in
{
  inherit names;

  packages = lib.listToAttrs (
    map (package: {
      inherit (package) name;
      value = {
        inherit (package) name version;
        wheel = best package;
        source = if best package == null then source package else null;
      };
    }) locked
  );
}
