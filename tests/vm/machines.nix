# Machines of the checks: core, a gpu host without a GPU, monitoring, Home Assistant, an S3 server.
{ self }:
let
  # A test secret: it may be in the Nix store.
  secret = "only-for-tests-only-for-tests-only";
  homeUrl = address: "http://${address}:8123";
  bucket = (builtins.fromTOML (builtins.readFile ../../system.toml)).replica.bucket;

  common =
    {
      config,
      containers,
      lib,
      nodes,
      pkgs,
      ...
    }:
    let
      cfg = config.barnabee;
      addressOf = lib.mapAttrs (_: machine: machine.networking.primaryIPAddress) (nodes // containers);
      certificate = pkgs.runCommand "certificate" { nativeBuildInputs = [ pkgs.openssl ]; } ''
        mkdir $out
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 36500 -subj /CN=barnabee-core \
          -addext subjectAltName=DNS:barnabee-core -keyout $out/key.pem -out $out/certificate.pem
      '';
    in
    {
      imports = [ self.nixosModules.barnabee ];
      options.withSecrets = lib.mkEnableOption "the secrets from the first boot on" // {
        default = true;
      };
      options.testSecrets = lib.mkOption {
        type = lib.types.attrsOf lib.types.path;
        description = "Files with the values of secrets that are not the test secret.";
      };
      config = {
        barnabee = {
          network = {
            subnet = "192.168.1.0/24";
            addresses = lib.mapAttrs' (name: lib.nameValuePair "barnabee-${name}") (
              lib.getAttrs (lib.intersectLists [ "core" "gpu" "monitoring" ] (lib.attrNames addressOf)) addressOf
            );
          };
          settings.BARNABEE_REPLICA_ENDPOINT = "http://${addressOf.backup}:9000";
          # The voice service is unhealthy without recordings.
          fillers = pkgs.runCommand "tones" { } ''
            ${cfg.package.env}/bin/python ${./tones.py} $out
          '';
          models = pkgs.emptyDirectory; # the engines of fake_gpu.py have none
        };
        testSecrets = {
          tls_certificate = "${certificate}/certificate.pem";
          tls_key = "${certificate}/key.pem";
        }
        // lib.optionalAttrs (addressOf ? home) {
          home_assistant_webhook = pkgs.writeText "webhook" "${homeUrl addressOf.home}/api/webhook/${secret}";
        };
        systemd.tmpfiles.rules = lib.optionals config.withSecrets (
          map (
            name:
            "C ${toString cfg.secrets.directory}/${name} 0400 root root - ${
              config.testSecrets.${name} or (pkgs.writeText "secret" secret)
            }"
          ) cfg.secrets.used
        );
      };
    };

  fakeGpu =
    {
      config,
      lib,
      pkgs,
      ...
    }:
    {
      systemd.services.barnabee-gpu = {
        environment.PYTHONPATH = pkgs.linkFarm "fakes" {
          "support/fake_engines.py" = ../support/fake_engines.py;
        };
        serviceConfig.ExecStart = lib.mkForce "${config.barnabee.package.env}/bin/python ${./fake_gpu.py}";
      };
    };

  named = name: { barnabee.name = "barnabee-${name}"; };
in
{
  # `common` is the configuration of every host; a test may add a host of its own.
  inherit common fakeGpu secret;

  core = {
    imports = [
      common
      (named "core")
    ];
    barnabee.secrets.unused = [ "home_assistant_token" ];
  };

  gpu.imports = [
    common
    fakeGpu
    (named "gpu")
  ];

  monitoring =
    { containers, ... }:
    {
      imports = [
        common
        (named "monitoring")
      ];
      barnabee.secrets.unused = [ "heartbeat_url" ];
      barnabee.settings.HOME_ASSISTANT_URL = homeUrl containers.home.networking.primaryIPAddress;
      environment.etc.home-token.text = secret;
    };

  home =
    { pkgs, ... }:
    {
      networking.firewall.allowedTCPPorts = [ 8123 ];
      systemd.services.home = {
        wantedBy = [ "multi-user.target" ];
        serviceConfig.ExecStart = "${pkgs.barnabee.env}/bin/python ${./fake_home.py} ${secret} ${secret}";
      };
    };

  backup =
    { lib, pkgs, ... }:
    {
      networking.firewall.allowedTCPPorts = [ 9000 ];
      systemd.tmpfiles.rules = [ "d /srv/s3/${bucket} 0755 root root -" ];
      systemd.services.s3 = {
        wantedBy = [ "multi-user.target" ];
        after = [ "network.target" ];
        serviceConfig.ExecStart = "${lib.getExe pkgs.rclone} serve s3 --addr :9000 --auth-key ${secret},${secret} --config /dev/null /srv/s3";
      };
    };
}
