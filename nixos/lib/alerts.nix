# Rules and Alertmanager configuration from system.toml. src/barnabee/up/monitoring_config.py makes the
# same for the local runner; tests/nix compares the two.
{ lib }:
let
  graphLib = import ./system.nix;
  # Tables whose numbers rules and dashboards compare with.
  limitTables = [
    "acceptance"
    "alert"
    "probe"
    "stage"
  ];
  recordingRule = record: value: labels: {
    inherit record labels;
    expr = "vector(${toString value})";
  };
  clockTime = hour: "${lib.fixedWidthNumber 2 hour}:00";
in
rec {
  # `template` with each `@name@` replaced by its value; null where a value is missing. Lists drop
  # elements that are null.
  fillTemplate =
    values: template:
    let
      value = name: values.${name} or null;
      parts = builtins.split "@([a-z_]+)@" template;
      names = map lib.head (lib.filter lib.isList parts);
      filled = lib.mapAttrs (_: fillTemplate values) template;
      textOf = part: if lib.isList part then toString (value (lib.head part)) else part;
    in
    if lib.isAttrs template then
      (if lib.elem null (lib.attrValues filled) then null else filled)
    else if lib.isList template then
      lib.filter (element: element != null) (map (fillTemplate values) template)
    else if !lib.isString template then
      template
    else if lib.any (name: value name == null) names then
      null
    else if names != [ ] && template == "@${lib.head names}@" then
      value (lib.head names)
    else
      lib.concatMapStrings textOf parts;

  # Alertmanager's configuration; `receivers` are the values of the receivers' placeholders.
  alertmanagerConfig =
    graph: receivers:
    fillTemplate (
      {
        inherit (graph.alert) mail_repeat_h heartbeat_min;
        night = quietRanges graph.alert.quiet_from_h graph.alert.quiet_until_h;
      }
      // receivers
    ) (lib.importJSON ../monitoring/alertmanager.json);

  # The quiet hours as time ranges, none of which crosses midnight; null without quiet hours.
  quietRanges =
    from: until:
    let
      range = start_time: end_time: { inherit start_time end_time; };
    in
    if from == until then
      null
    else if from < until then
      [ (range (clockTime from) (clockTime until)) ]
    else
      [ (range (clockTime from) "24:00") ]
      ++ lib.optional (until > 0) (range "00:00" (clockTime until));

  # Services with metrics that run on some host.
  scrapedServices =
    graph:
    lib.filter (
      service: graph.service.${service}.probe == "http" && graphLib.hostOf graph service != null
    ) (lib.attrNames graph.service);

  # Recording rules: they exist also while every service is down.
  limitRules = graph: {
    groups = [
      {
        name = "limits";
        interval = "5s";
        rules =
          lib.concatMap (
            table:
            map (key: recordingRule "barnabee_limit" graph.${table}.${key} { name = "${table}.${key}"; }) (
              lib.attrNames graph.${table}
            )
          ) limitTables
          ++ map (service: recordingRule "barnabee_expected" 1 { job = "barnabee-${service}"; }) (
            scrapedServices graph
          );
      }
    ];
  };
}
