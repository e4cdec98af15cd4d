# What every service module uses: which services are here, where the others are, and mk-service.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  graphs = import ../lib/system.nix;
  cfg = config.barnabee;
  graph = cfg.system;
  here = graphs.servicesOf graph cfg.roles;
  hostOf = service: if lib.elem service here then cfg.name else graphs.hostOf graph service;
  # A host without an address has a name that leads nowhere: an assertion says so, not a trace.
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
  socket = "/run/barnabee-litestream/litestream.sock";

  monitors = lib.filter (host: cfg.network.addresses ? ${host}) (graphs.hostsWith graph "monitoring");

  environment = {
    API_URL = urlOf "http" "api";
    BARNABEE_BIND = addressOfHost cfg.name;
    BARNABEE_DATA = cfg.dataDir;
    BARNABEE_LITESTREAM = lib.getExe pkgs.barnabee-litestream;
    BARNABEE_LITESTREAM_SOCKET = socket;
    BARNABEE_SYSTEM = "${pkgs.writeText "system.toml" (graphs.toTOML graph)}";
    BARNABEE_TIME_ZONE = toString config.time.timeZone;
    DATABASE_PATH = "${cfg.dataDir}/barnabee.db";
    GPU_SERVICE_URL = urlOf "http" "gpu";
    PYTHONUNBUFFERED = "1";
    REDIS_URL = "${urlOf "redis" "redis"}/0";
  }
  # Where nothing computes, a third of a gigabyte would only lie in the closure.
  // lib.optionalAttrs (lib.elem "gpu" here) { BARNABEE_MODELS = "${cfg.models}"; }
  // lib.optionalAttrs (graph.service ? voice) { VOICE_URL = urlOf "http" "voice"; }
  // lib.optionalAttrs (monitors != [ ]) {
    ALERTMANAGER_URL = "http://${addressOfHost (lib.head monitors)}:${toString graph.companion.alertmanager.port}";
  }
  // cfg.settings;

  ownNetworks = [
    "localhost"
    cfg.network.subnet
  ];

  mkService = import ../lib/mk-service.nix {
    inherit
      lib
      graph
      here
      environment
      ;
    credentialFile = cfg.secrets.fileOf;
    inherit ownNetworks;
  };
in
{
  options.barnabee = {
    package = lib.mkOption {
      type = lib.types.package;
      default = pkgs.barnabee;
      defaultText = lib.literalExpression "pkgs.barnabee";
      description = "The assistant; its `env` is the Python that the units start.";
      example = lib.literalExpression "pkgs.barnabee-cuda";
    };
    models = lib.mkOption {
      type = lib.types.package;
      default = pkgs.barnabee-models-cpu;
      defaultText = lib.literalExpression "pkgs.barnabee-models-cpu";
      description = "The folder with the models.";
      example = lib.literalExpression "pkgs.barnabee-models-cuda";
    };
    fillers = lib.mkOption {
      type = lib.types.nullOr lib.types.package;
      default = pkgs.barnabee-fillers;
      defaultText = lib.literalExpression "pkgs.barnabee-fillers";
      description = "The recorded phrases of the voice; null for none.";
      example = null;
    };
    dataDir = lib.mkOption {
      type = lib.types.path;
      default = "/data";
      description = "Where the database and what belongs to it is.";
      example = "/srv/barnabee";
    };
    settings = lib.mkOption {
      type = lib.types.attrsOf lib.types.str;
      default = { };
      description = "What the services are told beyond the graph, by the names of `core/settings.py`. No secrets.";
      example = {
        HOME_ASSISTANT_URL = "http://homeassistant.local:8123";
      };
    };
  };

  config = lib.mkMerge [
    {
      _module.args.house = {
        inherit
          graph
          graphs
          here
          addressOf
          urlOf
          mkService
          environment
          socket
          ;
        address = addressOfHost cfg.name;
        # For units of others, too, that have no business outside of the house.
        inside = {
          IPAddressDeny = "any";
          IPAddressAllow = ownNetworks;
        };
        runs = service: lib.elem service here;
        python = "${cfg.package.env}/bin/python";
        barnabee = "${cfg.package.env}/bin/barnabee";
      };
      barnabee.secrets.needed = lib.concatMap (service: graph.service.${service}.credentials) here;
    }

    (lib.mkIf (here != [ ]) {
      users.groups = {
        barnabee = { };
      }
      // lib.genAttrs (map (service: "barnabee-${service}") here) (_: { });
      users.users = lib.genAttrs (map (service: "barnabee-${service}") here) (user: {
        isSystemUser = true;
        group = user;
      });

      # The database belongs to a group: litestream needs to write beside it (docs/reference/store.md).
      systemd.tmpfiles.rules = [
        "d ${cfg.dataDir} 2770 root barnabee -"
      ]
      ++ lib.optional (cfg.fillers != null) "L+ ${cfg.dataDir}/fillers - - - - ${cfg.fillers}";

      systemd.slices.barnabee.description = "BarnabeeNet";
      environment.systemPackages = [ cfg.package ];
    })
  ];
}
