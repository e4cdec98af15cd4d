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

  # The newest glibc 2.x among a wheel's platform tags for x86_64 Linux; 0 for other platforms.
  glibcOf =
    platform:
    let
      legacy = {
        manylinux1_x86_64 = 5;
        manylinux2010_x86_64 = 12;
        manylinux2014_x86_64 = 17;
      };
      minor =
        tag:
        let
          found = builtins.match "manylinux_2_([0-9]+)_x86_64" tag;
        in
        if found != null then lib.toInt (lib.head found) else legacy.${tag} or 0;
    in
    lib.foldl' lib.max 0 (map minor (lib.splitString "." platform));

  # Sort key in pip's order: the ABI, then the newest platform. null is incompatible.
  rank =
    wheel:
    let
      stable = builtins.match "cp3([0-9]|1[01])" wheel.python;
      abi =
        if wheel.python == "cp311" && wheel.abi == "cp311" then
          0
        else if stable != null && wheel.abi == "abi3" then
          12 - lib.toInt (lib.head stable)
        else if lib.elem "py3" (lib.splitString "." wheel.python) && wheel.abi == "none" then
          13
        else
          null;
      glibc = glibcOf wheel.platform;
    in
    if abi == null then
      null
    else if glibc != 0 then
      [
        abi
        (-glibc)
      ]
    else if wheel.platform == "any" then
      [
        14
        0
      ]
    else
      null;

  best =
    package:
    let
      wheels = lib.filter (wheel: wheel != null && rank wheel != null) (map parts package.files);
    in
    if wheels == [ ] then null else lib.head (lib.sortOn rank wheels);

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

  normalise = name: lib.replaceStrings [ "_" "." ] [ "-" "-" ] (lib.toLower name);

  packages = lib.listToAttrs (
    map (package: {
      inherit (package) name;
      value = {
        inherit (package) name version;
        dependencies = map normalise (lib.attrNames (package.dependencies or { }));
        wheel = best package;
        source = if best package == null then source package else null;
      };
    }) locked
  );

  # The named packages and all that they depend on, on any system.
  closure =
    roots:
    map (item: item.key) (
      builtins.genericClosure {
        startSet = map (key: { inherit key; }) roots;
        operator = item: map (key: { inherit key; }) packages.${item.key}.dependencies;
      }
    );
in
{
  inherit closure names packages;
}
