# What src/barnabee/up/monitoring_config.py does for the local runner, for the modules: the rules that make
# series of system.toml, and Alertmanager's configuration out of its template. tests/nix compares.
{ lib }:
let
  graphs = import ./system.nix;
  # Tables whose numbers rules and dashboards compare with.
  tables = [
    "acceptance"
    "alert"
    "probe"
    "stage"
  ];
  record = record: value: labels: {
    inherit record labels;
    expr = "vector(${toString value})";
  };
  hour = number: "${lib.fixedWidthNumber 2 number}:00";
in
rec {
  # `template` with `@name@` replaced; null where a value is missing. A list leaves out what lacks one.
  fill =
    values: template:
    let
      value = name: values.${name} or null;
      pieces = builtins.split "@([a-z_]+)@" template;
      names = map lib.head (lib.filter lib.isList pieces);
      filled = lib.mapAttrs (_: fill values) template;
      piece = one: if lib.isList one then toString (value (lib.head one)) else one;
    in
    if lib.isAttrs template then
      (if lib.elem null (lib.attrValues filled) then null else filled)
    else if lib.isList template then
      lib.filter (one: one != null) (map (fill values) template)
    else if !lib.isString template then
      template
    else if lib.any (name: value name == null) names then
      null
    else if names != [ ] && template == "@${lib.head names}@" then
      value (lib.head names)
    else
      lib.concatMapStrings piece pieces;

  alertmanager =
    graph: ways:
    fill (
      {
        inherit (graph.alert) mail_repeat_h heartbeat_min;
        night = night graph.alert.quiet_from_h graph.alert.quiet_until_h;
      }
      // ways
    ) (lib.importJSON ../monitoring/alertmanager.json);

  # The quiet hours as ranges, none of which crosses midnight.
  night =
    from: until:
    let
      range = start_time: end_time: { inherit start_time end_time; };
    in
    if from == until then
      null
    else if from < until then
      [ (range (hour from) (hour until)) ]
    else
      [ (range (hour from) "24:00") ] ++ lib.optional (until > 0) (range "00:00" (hour until));

  # The services that have metrics, and run somewhere.
  asked =
    graph:
    lib.filter (
      service: graph.service.${service}.probe == "http" && graphs.hostOf graph service != null
    ) (lib.attrNames graph.service);

  # Rules and no series of a service, so that a limit is there when every service is gone.
  limits = graph: {
    groups = [
      {
        name = "limits";
        interval = "5s";
        rules =
          lib.concatMap (
            table:
            map (key: record "barnabee_limit" graph.${table}.${key} { name = "${table}.${key}"; }) (
              lib.attrNames graph.${table}
            )
          ) tables
          ++ map (service: record "barnabee_expected" 1 { job = "barnabee-${service}"; }) (asked graph);
      }
    ];
  };
}
