# The graph of system.toml, read and questioned with builtins alone: no nixpkgs, no modules.
# core/graph.py asks the same questions in Python; the assertions of the modules ask these.
let
  inherit (builtins)
    attrNames
    concatMap
    concatStringsSep
    elem
    filter
    foldl'
    head
    isAttrs
    isBool
    isInt
    isList
    length
    listToAttrs
    map
    match
    toJSON
    toString
    ;

  key = name: if match "[A-Za-z0-9_-]+" name != null then name else toJSON name;

  scalar =
    path: value:
    if isBool value then
      (if value then "true" else "false")
    else if isInt value then
      toString value
    else if builtins.isString value then
      toJSON value # every JSON string is a TOML basic string
    else if isList value then
      "[${concatStringsSep ", " (map (scalar path) value)}]"
    else
      throw "${concatStringsSep "." path} cannot be written into system.toml";

  # null is a key that was not given: TOML has no word for it.
  given = table: filter (name: table.${name} != null) (attrNames table);

  tableText =
    path: table:
    let
      names = given table;
      plain = filter (name: !isAttrs table.${name}) names;
      inner = filter (name: isAttrs table.${name}) names;
      heading = "[${concatStringsSep "." (map key path)}]\n";
      line = name: "${key name} = ${scalar (path ++ [ name ]) table.${name}}\n";
    in
    (if path == [ ] then "" else heading)
    + concatStringsSep "" (map line plain)
    + concatStringsSep "" (map (name: "\n" + tableText (path ++ [ name ]) table.${name}) inner);
in
rec {
  load = file: builtins.fromTOML (builtins.readFile file);

  # The merged graph as text again, for the services of a machine.
  toTOML = tableText [ ];

  # Hosts that carry a role, by name. A stand-by carries none until it is promoted.
  hostsWith = graph: role: filter (name: elem role graph.host.${name}.roles) (attrNames graph.host);

  # Where a service runs, or null when it is placed nowhere.
  hostOf =
    graph: service:
    let
      hosts = hostsWith graph graph.service.${service}.role;
    in
    if hosts == [ ] then null else head hosts;

  # The services of a machine with these roles; a stand-by can run all that keeps the house talking.
  servicesOf =
    graph: roles:
    let
      wide =
        roles
        ++ (
          if elem "standby" roles then
            [
              "core"
              "gpu"
            ]
          else
            [ ]
        );
    in
    filter (name: elem graph.service.${name}.role wide) (attrNames graph.service);

  # What talks to a service over the wire: those who need or want it.
  callersOf =
    graph: service:
    filter (name: elem service (graph.service.${name}.needs ++ graph.service.${name}.wants)) (
      attrNames graph.service
    );

  # Whom each service starts after and stops before: its needs, and its wants as far as they close no
  # circle (by the alphabet). systemd would drop a start out of a circle; core/graph.py has the same rule.
  ordering =
    graph:
    let
      known = graph.service;
      names = attrNames known;
      here = filter (other: known ? ${other});
      edges =
        kind:
        concatMap (
          name:
          map (other: { inherit name other; }) (here (builtins.sort builtins.lessThan known.${name}.${kind}))
        ) names;
      reaches =
        after: start: goal:
        start == goal || builtins.any (one: reaches after one goal) after.${start};
      add =
        after: edge:
        if reaches after edge.other edge.name then
          after
        else
          after // { ${edge.name} = after.${edge.name} ++ [ edge.other ]; };
      nobody = listToAttrs (
        map (name: {
          inherit name;
          value = [ ];
        }) names
      );
    in
    foldl' add nobody (edges "needs" ++ edges "wants");

  # [ { port, names } ] for every port that two have.
  portClashes =
    graph:
    let
      owned = filter (name: graph.service.${name}.port != null) (attrNames graph.service);
      ports = foldl' (
        found: name:
        let
          port = toString graph.service.${name}.port;
        in
        found // { ${port} = (found.${port} or [ ]) ++ [ name ]; }
      ) { } owned;
    in
    concatMap (
      port:
      if length ports.${port} > 1 then
        [
          {
            inherit port;
            names = ports.${port};
          }
        ]
      else
        [ ]
    ) (attrNames ports);

  # MiB that all models take at their peak, and what the card can give.
  vram = graph: {
    peak = foldl' (sum: name: sum + graph.model.${name}.vram_peak_mib) 0 (attrNames graph.model);
    usable = graph.card.vram_mib - graph.card.headroom_mib;
  };

  # Hosts other than `self` that a firewall rule for `service` must let in: whoever calls it.
  callingHosts =
    graph: self: service:
    let
      hosts = concatMap (caller: hostsWith graph graph.service.${caller}.role) (callersOf graph service);
      unique = attrNames (
        listToAttrs (
          map (name: {
            inherit name;
            value = null;
          }) hosts
        )
      );
    in
    filter (name: name != self) unique;
}
