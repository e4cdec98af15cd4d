# NixOS options from the JSON Schema of system.toml (core/schema, scripts/system_schema.py). The example
# of an option is the value in system.toml.
{ lib }:
let
  file = builtins.fromJSON (builtins.readFile ./system.schema.json);
  definition = reference: file."$defs".${lib.removePrefix "#/$defs/" reference};

  number =
    schema:
    if schema ? minimum && schema ? maximum then
      lib.types.ints.between schema.minimum schema.maximum
    else if schema ? minimum && schema.minimum >= 1 then
      lib.types.ints.positive
    else if schema ? minimum then
      lib.types.ints.unsigned
    else
      lib.types.int;

  text =
    schema:
    if schema ? pattern then
      matching schema.pattern
    else if schema ? minLength then
      lib.types.nonEmptyStr
    else
      lib.types.str;

  # A pattern of Python, which may match a prefix, as one that matches the whole text.
  matching =
    pattern:
    let
      end = if lib.hasSuffix "$" pattern then "" else ".*";
    in
    lib.types.strMatching "${lib.removeSuffix "$" (lib.removePrefix "^" pattern)}${end}";

  list =
    path: schema: example:
    let
      element = typeOf path schema.items example;
    in
    if schema ? minItems then lib.types.nonEmptyListOf element else lib.types.listOf element;

  table =
    path: schema: example:
    if schema ? properties then
      lib.types.submodule { options = optionsOf path schema example; }
    else if schema ? patternProperties then
      lib.types.attrsOf (
        typeOf (path ++ [ "<name>" ]) (lib.head (lib.attrValues schema.patternProperties)) (
          if lib.isAttrs example && example != { } then lib.head (lib.attrValues example) else null
        )
      )
    else
      lib.types.attrsOf (typeOf (path ++ [ "<name>" ]) schema.additionalProperties null);

  typeOf =
    path: schema: example:
    if schema ? "$ref" then
      typeOf path (definition schema."$ref") example
    else if schema ? anyOf then
      lib.types.nullOr (
        lib.types.oneOf (
          map (option: typeOf path option example) (
            lib.filter (option: option.type or "" != "null") schema.anyOf
          )
        )
      )
    else if schema ? const then
      lib.types.enum [ schema.const ]
    else if schema ? enum then
      lib.types.enum schema.enum
    else
      {
        boolean = lib.types.bool;
        integer = number schema;
        string = text schema;
        array = list path schema example;
        object = table path schema example;
      }
      .${schema.type};

  # The description of the key's own table, else of the table that the key is in.
  describe =
    path: key: schema: parent:
    let
      target = if schema ? "$ref" then definition schema."$ref" else schema;
      description = target.description or parent.description or "The service graph.";
    in
    "`${lib.concatStringsSep "." (path ++ [ key ])}` of system.toml. ${description}";

  option =
    path: parent: key: schema: example:
    lib.mkOption (
      {
        type = typeOf (path ++ [ key ]) schema example;
        description = describe path key schema parent;
      }
      // lib.optionalAttrs (schema ? default) { inherit (schema) default; }
      // (
        if lib.isAttrs example then
          {
            example = lib.literalExpression "(builtins.fromTOML (builtins.readFile ./system.toml)).${
              lib.concatStringsSep "." (path ++ [ key ])
            }";
          }
        else
          { inherit example; }
      )
    );

  optionsOf =
    path: schema: example:
    lib.mapAttrs (
      key: property:
      option path schema key property (
        if lib.isAttrs example && example ? ${key} then example.${key} else property.default or null
      )
    ) schema.properties;
in
# The options of the whole file; `example` is its parsed content.
example: optionsOf [ ] file example
