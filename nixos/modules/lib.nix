# barnabeeLib: module argument with the service graph, service addresses and the unit builder.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  graphLib = import ../lib/system.nix;
  cfg = config.barnabee;
  graph = cfg.system;
  localServices = graphLib.servicesOf graph cfg.roles;
  hostOf =
    service: if lib.elem service localServices then cfg.name else graphLib.hostOf graph service;
  # A host without an address gets a name that does not resolve, so that the assertion of
  # network.nix reports it instead of an evaluation error.
  addressOfHost =
    host:
    if host == null then "nowhere.invalid" else cfg.network.addresses.${host} or "${host}.invalid";
  addressOf =
    service:
    if cfg.network.services ? ${service} then
      cfg.network.services.${service}
    else if graph.service.${service}.probe == "redis" then
      "127.0.0.1"
    else
      addressOfHost (hostOf service);
  urlOf =
    scheme: service: "${scheme}://${addressOf service}:${toString graph.service.${service}.port}";
  litestreamSocket = "/run/barnabee-litestream/litestream.sock";

  monitors = lib.filter (host: cfg.network.addresses ? ${host}) (
    graphLib.hostsWithRole graph "monitoring"
  );

  environment = {
    API_URL = urlOf "http" "api";
    BARNABEE_BIND = addressOfHost cfg.name;
    BARNABEE_DATA = cfg.dataDir;
    BARNABEE_LITESTREAM = lib.getExe pkgs.barnabee-litestream;
    BARNABEE_LITESTREAM_SOCKET = litestreamSocket;
    BARNABEE_SYSTEM = "${pkgs.writeText "system.toml" (graphLib.toTOML graph)}";
    BARNABEE_TIME_ZONE = toString config.time.timeZone;
    DATABASE_PATH = "${cfg.dataDir}/barnabee.db";
    GPU_SERVICE_URL = urlOf "http" "gpu";
    PYTHONUNBUFFERED = "1";
    REDIS_URL = "${urlOf "redis" "redis"}/0";
  }
  # Only where a service loads them: the models add about 300 MB to the closure.
  // lib.optionalAttrs (lib.elem "gpu" localServices) { BARNABEE_MODELS = "${cfg.models}"; }
  // lib.optionalAttrs (graph.service ? voice) { VOICE_URL = urlOf "http" "voice"; }
  // lib.optionalAttrs (monitors != [ ]) {
    ALERTMANAGER_URL = "http://${addressOfHost (lib.head monitors)}:${toString graph.companion.alertmanager.port}";
  }
  // cfg.settings;

  # The old name of the key works for one release, with the old variables.
  # The model of the gpu service needs no key of its own.
  usesLlm =
    !(lib.elem graph.llm.provider [
      "none"
      "gpu"
    ])
    || cfg.settings ? LLM_URL;
  unusedLlmKeys =
    lib.optional (!usesLlm) "llm_api_key"
    ++ lib.optional (usesLlm || !(cfg.settings ? AZURE_OPENAI_ENDPOINT)) "azure_openai_key";

  ownNetworks = [
    "localhost"
    cfg.network.subnet
  ];

  python = "${cfg.package.env}/bin/python";
  mkService = import ../lib/mk-service.nix {
    inherit
      lib
      graph
      localServices
      environment
      ownNetworks
      python
      unusedLlmKeys
      ;
    credentialFile = cfg.secrets.fileOf;
    derivedCredentials = cfg.secrets.derived;
  };
in
{
  config._module.args.barnabeeLib = {
    inherit
      graph
      graphLib
      localServices
      monitors
      addressOf
      addressOfHost
      urlOf
      mkService
      environment
      litestreamSocket
      unusedLlmKeys
      ;
    hostAddress = addressOfHost cfg.name;
    # serviceConfig of units that need no network beyond the deployment's own, nixpkgs' units included.
    privateNetworkOnly = {
      IPAddressDeny = "any";
      IPAddressAllow = ownNetworks;
    };
    runsService = service: lib.elem service localServices;
    # Units that write the database, or start those that do. A unit with these in `conflicts` and `after`
    # starts when all of them have ended.
    servingUnits =
      map (service: "barnabee-${service}.service") (
        lib.subtractLists [
          "gpu"
          "redis"
        ] localServices
      )
      ++ [
        "barnabee.target"
        "barnabee-healthy.target"
        "barnabee-supervisor.service"
      ];
    # For units that read or write the replica (store/fence.py).
    replicaEnvironment = lib.optionalAttrs (
      cfg.standby.enable && lib.elem cfg.name cfg.standby.members
    ) { BARNABEE_LINE = "${cfg.dataDir}/line"; };
    inherit python;
    barnabee = "${cfg.package.env}/bin/barnabee";
  };
}
