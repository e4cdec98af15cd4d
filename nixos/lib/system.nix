# Functions on the service graph of system.toml. Builtins only: no nixpkgs, no modules.
# core/graph.py has the same in Python; tests/nix compares.
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

  # TOML has no null: a key without a value is left out.
  definedKeys = table: filter (name: table.${name} != null) (attrNames table);

  tableText =
    path: table:
    let
      names = definedKeys table;
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
  loadFile = file: builtins.fromTOML (builtins.readFile file);

  # The merged graph as TOML, for the services of a host.
  toTOML = tableText [ ];

  # Hosts with a role.
  hostsWithRole =
    graph: role: filter (name: elem role graph.host.${name}.roles) (attrNames graph.host);

  # First host that runs a service, or null.
  hostOf =
    graph: service:
    let
      hosts = hostsWithRole graph graph.service.${service}.role;
    in
    if hosts == [ ] then null else head hosts;

  # Services of a host with these roles. A standby can run those of core and gpu.
  servicesOf =
    graph: roles:
    let
      servedRoles =
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
    filter (name: elem graph.service.${name}.role servedRoles) (attrNames graph.service);

  # Services that need or want a service, and so connect to it.
  callersOf =
    graph: service:
    filter (name: elem service (graph.service.${name}.needs ++ graph.service.${name}.wants)) (
      attrNames graph.service
    );

  # Services that each service starts after and stops before: its needs, and its wants in alphabetical
  # order unless one would close a cycle, which systemd resolves by dropping a start.
  startOrder =
    graph:
    let
      services = graph.service;
      names = attrNames services;
      edges =
        kind:
        concatMap (
          name:
          map (other: { inherit name other; }) (
            filter (other: services ? ${other}) (builtins.sort builtins.lessThan services.${name}.${kind})
          )
        ) names;
      reaches =
        after: start: goal:
        start == goal || builtins.any (next: reaches after next goal) after.${start};
      add =
        after: edge:
        if reaches after edge.other edge.name then
          after
        else
          after // { ${edge.name} = after.${edge.name} ++ [ edge.other ]; };
      noEdges = listToAttrs (
        map (name: {
          inherit name;
          value = [ ];
        }) names
      );
    in
    foldl' add noEdges (edges "needs" ++ edges "wants");

  # [ { port, names } ] of the ports that two or more services have.
  portConflicts =
    graph:
    let
      withPort = filter (name: graph.service.${name}.port != null) (attrNames graph.service);
      ports = foldl' (
        found: name:
        let
          port = toString graph.service.${name}.port;
        in
        found // { ${port} = (found.${port} or [ ]) ++ [ name ]; }
      ) { } withPort;
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

  # MiB that all models but language models take at their peak, that the GPU has for them, that the preloaded ones leave,
  # and the names of the language models that take more. core/graph.py has the same rule.
  vram =
    graph:
    let
      names = attrNames graph.model;
      isLlm = name: graph.model.${name}.task == "llm";
      sumPeaks = foldl' (sum: name: sum + graph.model.${name}.vram_peak_mib) 0;
      usable = graph.gpu.vram_mib - graph.gpu.headroom_mib;
      left = usable - sumPeaks (filter (name: graph.model.${name}.preload) names);
    in
    {
      inherit usable left;
      peak = sumPeaks (filter (name: !(isLlm name)) names);
      tooLarge = filter (name: isLlm name && graph.model.${name}.vram_peak_mib > left) names;
    };

  # Hosts other than `self` whose services call `service`.
  callingHosts =
    graph: self: service:
    let
      hosts = concatMap (caller: hostsWithRole graph graph.service.${caller}.role) (
        callersOf graph service
      );
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
