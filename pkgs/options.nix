# docs/reference/options.md: every option under `barnabee.`, from the modules themselves.
{ pkgs, self }:
let
  inherit (pkgs) lib;
  inherit (self.nixosConfigurations.barnabee-core) options;
  listed = lib.optionAttrSetToDocList { inherit (options) barnabee; };
  shown = lib.filter (option: option.visible && !option.internal) listed;
  said = value: if value ? text then lib.replaceStrings [ "\n" ] [ " " ] value.text else builtins.toJSON value;
  entry =
    option:
    lib.concatStrings [
      "## `${option.name}`\n\n"
      "${lib.removeSuffix "\n" (option.description.text or option.description)}\n\n"
      "- type: ${option.type}\n"
      (lib.optionalString (option ? default) "- default: `${said option.default}`\n")
      (lib.optionalString (option ? example) "- example: `${said option.example}`\n")
      "\n"
    ];
  sorted = lib.sort (a: b: a.name < b.name) shown;
  text =
    "# Options\n\nWritten by `nix eval --raw .#options-md.text`; a test compares. Every key of `system.toml`"
    + " is an option too, under `barnabee.system`.\n\n"
    + lib.concatMapStrings entry sorted;
in
pkgs.writeText "options.md" (lib.removeSuffix "\n" text) // { inherit text; }
