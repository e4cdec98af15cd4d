# Machines of the VM tests: core, a gpu host without a GPU, monitoring, Home Assistant, an S3 server.
{ self }:
let
  # A test secret: it may be in the Nix store.
  secret = "only-for-tests-only-for-tests-only";
  webhook = nodes: "http://${nodes.home.networking.primaryIPAddress}:8123/api/webhook/${secret}";
  common =
    {
      config,
      lib,
      nodes,
      pkgs,
      ...
    }:
    {
      imports = [ self.nixosModules.barnabee ];
      barnabee = {
        network = {
          subnet = "192.168.1.0/24";
          # The nodes of this test; `nodes` is lazy.
          addresses = lib.mapAttrs' (
            node: _: lib.nameValuePair "barnabee-${node}" nodes.${node}.networking.primaryIPAddress
          ) (lib.intersectAttrs (lib.genAttrs [ "core" "gpu" "monitoring" ] (_: null)) nodes);
        };
        settings.BARNABEE_REPLICA_ENDPOINT = "http://${nodes.backup.networking.primaryIPAddress}:9000";
        # The voice service is unhealthy without recordings.
        fillers = pkgs.runCommand "tones" { } ''
          ${config.barnabee.package.env}/bin/python ${./tones.py} $out
        '';
      };
      services.alloy.enable = lib.mkForce false; # no Loki in most tests
      systemd.tmpfiles.rules = map (
        name:
        let
          content = if name == "home_assistant_webhook" then webhook nodes else secret;
        in
        "f ${toString config.barnabee.secrets.directory}/${name} 0400 root root - ${content}"
      ) config.barnabee.secrets.used;
    };
in
{
  # `common` is the configuration of every host; a test may add a host of its own.
  inherit common secret;

  core =
    { lib, ... }:
    {
      imports = [ common ];
      barnabee.name = "barnabee-core";
      barnabee.secrets.unused = [
        "home_assistant_token"
      ];
      services.nginx.enable = lib.mkForce false; # no certificate in the tests
      virtualisation.memorySize = 2048;
    };

  gpu =
    { config, lib, ... }:
    {
      imports = [ common ];
      barnabee.name = "barnabee-gpu";
      systemd.services.barnabee-gpu.serviceConfig.ExecStart =
        lib.mkForce "${config.barnabee.package.env}/bin/python ${./fake_gpu.py}";
      virtualisation.memorySize = 1024;
    };

  monitoring =
    { lib, nodes, ... }:
    {
      imports = [ common ];
      barnabee.name = "barnabee-monitoring";
      barnabee.secrets.unused = [ "heartbeat_url" ];
      barnabee.settings.HOME_ASSISTANT_URL = "http://${nodes.home.networking.primaryIPAddress}:8123";
      services.grafana.enable = lib.mkForce false;
      services.loki.enable = lib.mkForce false;
      environment.etc.home-token.text = secret;
      virtualisation.memorySize = 1536;
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
    { pkgs, lib, ... }:
    let
      bucket = (builtins.fromTOML (builtins.readFile ../../system.toml)).replica.bucket;
    in
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
