# Container image of each service, for Docker: programs, models and command. `barnabee compose` writes the
# Compose file; tests/nix compares the two. Images are streamed and not stored in the Nix store:
# `$(nix build --print-out-paths .#oci-api) | docker load`.
{
  lib,
  pkgs,
  core, # the system of barnabee-core, for the configuration of the reverse proxy
}:
let
  id = 990; # USER of src/barnabee/up/compose.py
  owner = "${toString id}:${toString id}";
  graph = core.config.barnabee.system;

  base = [
    pkgs.cacert
    (pkgs.writeTextDir "etc/passwd" "barnabee:x:${toString id}:${toString id}::/cache:/bin/false\n")
    (pkgs.writeTextDir "etc/group" "barnabee:x:${toString id}:\n")
  ];
  # A new volume inherits owner and mode of the image's directory.
  directories = [
    "cache"
    "data"
    "run/barnabee-litestream"
    "tmp"
    "var/cache/nginx"
  ];

  image =
    name:
    {
      contents,
      command,
      environment ? { },
    }:
    pkgs.dockerTools.streamLayeredImage {
      name = "barnabee-${name}";
      tag = pkgs.barnabee.version;
      contents = base ++ contents;
      enableFakechroot = false;
      fakeRootCommands = ''
        mkdir -p ${lib.concatStringsSep " " directories}
        chown ${owner} ${lib.concatStringsSep " " directories}
        chmod 1777 tmp
      '';
      config = {
        Cmd = command;
        User = owner;
        Env = lib.mapAttrsToList (key: value: "${key}=${value}") (
          {
            PATH = lib.makeBinPath contents;
            SSL_CERT_FILE = "${pkgs.cacert}/etc/ssl/certs/ca-bundle.crt";
          }
          // environment
        );
        Labels."org.opencontainers.image.licenses" = "Apache-2.0";
      };
    };

  # A BarnabeeNet program: the Python environment of the package, and its environment variables.
  barnabeeImage =
    {
      package ? pkgs.barnabee,
      environment ? { },
    }:
    command: {
      contents = [ package.env ];
      inherit command;
      environment = {
        BARNABEE_LITESTREAM = lib.getExe pkgs.barnabee-litestream;
        HOME = "/cache";
        PYTHONUNBUFFERED = "1";
        RUNTIME_DIRECTORY = "/run/barnabee-litestream";
      }
      // environment;
    };
  runModule = service: [
    "python"
    "-m"
    graph.service.${service}.module
  ];

  # Every service with a `module` in system.toml has an image; those that need more follow.
  moduleServices = lib.filterAttrs (_: service: service.module != null) graph.service;
  services = lib.mapAttrs (name: _: barnabeeImage { } (runModule name)) moduleServices // {
    redis = {
      contents = [
        pkgs.barnabee.env
        pkgs.valkey
      ];
      # The Compose file has its options.
      command = [
        "python"
        "-m"
        "barnabee.up.redis_server"
        "valkey-server"
      ];
      environment.RUNTIME_DIRECTORY = "/tmp/redis";
    };
    restore = barnabeeImage { } [
      "barnabee"
      "restore"
      "--if-missing"
    ];
    litestream = barnabeeImage { } [
      "barnabee"
      "replicate"
    ];
    voice = barnabeeImage { environment.BARNABEE_FILLERS = "${pkgs.barnabee-fillers}"; } (
      runModule "voice"
    );
    gpu-cpu = barnabeeImage { environment.BARNABEE_MODELS = "${pkgs.barnabee-models-cpu}"; } (
      runModule "gpu"
    );
    gpu = barnabeeImage {
      package = pkgs.barnabee-cuda;
      environment = {
        BARNABEE_DEVICE = "cuda";
        BARNABEE_MODELS = "${pkgs.barnabee-models-cuda}";
        # NVIDIA's container toolkit mounts the driver's libraries there.
        LD_LIBRARY_PATH = "/usr/lib64:/usr/lib/x86_64-linux-gnu:${pkgs.barnabee-cuda.cudaLibraries}";
        NVIDIA_DRIVER_CAPABILITIES = "compute,utility";
        NVIDIA_VISIBLE_DEVICES = "all";
      };
    } (runModule "gpu");
    proxy = {
      contents = [
        pkgs.curl # for the health check: the image has no Python
        pkgs.nginx
      ];
      command = [
        "nginx"
        "-e"
        "stderr"
        "-c"
        "${proxy.config.environment.etc."nginx/nginx.conf".source}"
      ];
    };
  };

  # nginx as on core, but with service names instead of addresses.
  proxy = core.extendModules {
    modules = [
      {
        barnabee.network.services = lib.genAttrs (lib.attrNames graph.service) (name: name);
        barnabee.proxy.grafana = null; # the Compose file has none
        services.nginx = {
          enableReload = true; # writes the configuration to /etc
          appendHttpConfig = "access_log off;";
          virtualHosts.${core.config.barnabee.proxy.hostName} = {
            sslCertificate = lib.mkForce "/run/secrets/tls_certificate";
            sslCertificateKey = lib.mkForce "/run/secrets/tls_key";
          };
        };
      }
    ];
  };
in
{
  images = lib.mapAttrs' (
    name: service: lib.nameValuePair "oci-${name}" (image name service)
  ) services;
  nginx = proxy.config.environment.etc."nginx/nginx.conf".source;
}
