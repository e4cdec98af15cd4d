# One container image for each service, for a house with neither NixOS nor Proxmox. What is inside
# stands here: programs, models, the command. How they are wired stands in the Compose file that
# `barnabee compose` writes; tests/nix compares the two. `$(nix build --print-out-paths .#oci-api) |
# docker load`: streamed, so that no image lies in the store beside what it is made of.
{
  lib,
  pkgs,
  core, # the system of barnabee-core: the proxy's configuration comes from its modules
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
  # A new volume takes owner and mode from the image's directory.
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

  # One of ours: the Python that knows the package, and what the programs are told of themselves.
  ours =
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
  python = module: [
    "python"
    "-m"
    module
  ];

  services = {
    redis = {
      contents = [ pkgs.valkey ];
      command = [ "valkey-server" ]; # its options stand in the Compose file
    };
    restore = ours { } [
      "barnabee"
      "restore"
      "--if-missing"
    ];
    litestream = ours { } [
      "barnabee"
      "replicate"
    ];
    api = ours { } (python "barnabee.api");
    worker = ours { } (python "barnabee.workers");
    voice = ours { environment.BARNABEE_FILLERS = "${pkgs.barnabee-fillers}"; } (
      python "barnabee.voice"
    );
    gpu-cpu = ours { environment.BARNABEE_MODELS = "${pkgs.barnabee-models-cpu}"; } (
      python "barnabee.gpu"
    );
    gpu = ours {
      package = pkgs.barnabee-cuda;
      environment = {
        BARNABEE_DEVICE = "cuda";
        BARNABEE_MODELS = "${pkgs.barnabee-models-cuda}";
        # The driver's libraries are put there by NVIDIA's container toolkit.
        LD_LIBRARY_PATH = "/usr/lib64:/usr/lib/x86_64-linux-gnu:${pkgs.barnabee-cuda.cudaLibraries}";
        NVIDIA_DRIVER_CAPABILITIES = "compute,utility";
        NVIDIA_VISIBLE_DEVICES = "all";
      };
    } (python "barnabee.gpu");
    proxy = {
      contents = [
        pkgs.curl # asks for its health: there is no Python in it
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

  # nginx as core has it, but that others have names in place of addresses.
  proxy = core.extendModules {
    modules = [
      {
        barnabee.network.services = lib.genAttrs (lib.attrNames graph.service) (name: name);
        services.nginx = {
          enableReload = true; # the configuration is a file of its own then
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
  images = lib.mapAttrs' (name: one: lib.nameValuePair "oci-${name}" (image name one)) services;
  nginx = proxy.config.environment.etc."nginx/nginx.conf".source;
}
