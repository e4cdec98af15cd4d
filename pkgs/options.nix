# docs/reference/options.md: every option under `barnabee.`, from the modules themselves.
{ lib, options }:
let
  listed = lib.optionAttrSetToDocList { inherit (options) barnabee; };
  shown = lib.filter (option: option.visible && !option.internal) listed;
  oneLine =
    text:
    lib.concatStringsSep " " (
      lib.filter (word: word != "") (lib.splitString " " (lib.replaceStrings [ "\n" ] [ " " ] text))
    );
  said = value: oneLine (value.text or (builtins.toJSON value));
  entry = option: ''
    ## `${option.name}`

    ${lib.removeSuffix "\n" option.description}

    - type: ${option.type}
    ${lib.optionalString (option ? default) "- default: `${said option.default}`\n"}${
      lib.optionalString (option ? example) "- example: `${said option.example}`\n"
    }
  '';
  sorted = lib.sort (a: b: a.name < b.name) shown;
  heading = ''
    # Options of the NixOS modules

    Written by `nix eval --raw .#options-md.text > docs/reference/options.md`; a test compares. Under
    `barnabee.system` stands `system.toml`: each of its keys is an option that a host may set.

  '';
in
lib.removeSuffix "\n" (heading + lib.concatMapStrings entry sorted)
