# The machines of the VM tests: core, a gpu without a card, and an S3 server for the replica.
{ self }:
let
  # Made up for the tests, and in the store for that reason alone.
  secret = "only-for-tests-only-for-tests-only";
  house =
    {
      config,
      lib,
      nodes,
      ...
    }:
    {
      imports = [ self.nixosModules.default ];
      barnabee = {
        network = {
          subnet = "192.168.1.0/24";
          addresses = {
            barnabee-core = nodes.core.networking.primaryIPAddress;
            barnabee-gpu = nodes.gpu.networking.primaryIPAddress;
          };
        };
        settings.BARNABEE_REPLICA_ENDPOINT = "http://${nodes.backup.networking.primaryIPAddress}:9000";
        fillers = null;
      };
      services.alloy.enable = lib.mkForce false; # nobody collects here
      systemd.tmpfiles.rules = map (
        name: "f ${toString config.barnabee.secrets.directory}/${name} 0400 root root - ${secret}"
      ) config.barnabee.secrets.needed;
    };
in
{
  inherit house secret;

  core =
    { lib, ... }:
    {
      imports = [ house ];
      barnabee.name = "barnabee-core";
      barnabee.secrets.unused = [
        "azure_openai_key"
        "home_assistant_token"
      ];
      services.nginx.enable = lib.mkForce false; # it has no certificate here
      virtualisation.memorySize = 2048;
    };

  gpu =
    { config, lib, ... }:
    {
      imports = [ house ];
      barnabee.name = "barnabee-gpu";
      systemd.services.barnabee-gpu.serviceConfig = {
        ExecStart = lib.mkForce "${config.barnabee.package.env}/bin/python ${./fake_gpu.py}";
        Type = lib.mkForce "exec";
        WatchdogSec = lib.mkForce 0;
      };
      virtualisation.memorySize = 1024;
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
