# Renamed and removed keys of system.toml: `barnabee.system` accepts them for one release, with one warning
# each. The tables are those of src/barnabee/core/renamed.py; tests/nix compares them.
{ lib }:
let
  # `*` matches any key. Keys of one parent only: the last component differs.
  table = {
    "card" = "gpu";
    "external.azure_openai" = "external.llm";
    "external.*.away_most_s" = "external.*.backoff_max_s";
    "external.*.words" = "external.*.message";
    "logs.unsent_max_mib" = "logs.loki_buffer_max_mib";
    "logs.unwritten_max_lines" = "logs.output_buffer_max_lines";
    "probe.every_without_card_s" = "probe.every_without_gpu_s";
    "session.turns_kept" = "session.turns_max";
    "trouble.deaf" = "trouble.stt_failed";
    "trouble.dumb_answer" = "trouble.tts_failed_answer";
    "trouble.dumb_done" = "trouble.tts_failed_done";
    "trouble.lost" = "trouble.api_failed";
  };
  removed = [
    "acceptance.detect_failure_s"
    "backup.cpu_percent"
    "backup.downloads_per_day"
    "backup.listings_per_day"
    "backup.recovery_recipient"
  ];

  # Moves `value.<parents>.<old>` to `<new>`, or deletes it if that is null, through mkIf, mkMerge and mkOverride.
  # A definition that has both names keeps both; the option types then refuse the old one.
  renameAt =
    message: parents: old: new: value:
    let
      renameIn = renameAt message parents old new;
      inChildren = renameAt message (lib.tail parents) old new;
    in
    if !lib.isAttrs value then
      value
    else if value ? _type then
      value
      // lib.optionalAttrs (value ? content) { content = renameIn value.content; }
      // lib.optionalAttrs (value ? contents) { contents = map renameIn value.contents; }
    else if parents == [ ] then
      if value ? ${old} && new == null then
        lib.warn message (removeAttrs value [ old ])
      else if value ? ${old} && !(value ? ${new}) then
        removeAttrs value [ old ] // { ${new} = lib.warn message value.${old}; }
      else
        value
    else if lib.head parents == "*" then
      lib.mapAttrs (_: inChildren) value
    else
      value
      // lib.optionalAttrs (value ? ${lib.head parents}) {
        ${lib.head parents} = inChildren value.${lib.head parents};
      };

  rename =
    value: old:
    let
      path = lib.splitString "." old;
      newKey = lib.last (lib.splitString "." table.${old});
      message = "barnabee.system.${old} is now called barnabee.system.${table.${old}}; the old name stops working with the next release";
    in
    renameAt message (lib.init path) (lib.last path) newKey value;

  remove =
    value: old:
    let
      path = lib.splitString "." old;
      message = "barnabee.system.${old} is ignored; the next release refuses it";
    in
    renameAt message (lib.init path) (lib.last path) null value;
in
{
  inherit table removed;

  # A definition of `barnabee.system` with the new names and without the removed ones.
  renameKeys =
    definition: lib.foldl' remove (lib.foldl' rename definition (lib.attrNames table)) removed;
}
