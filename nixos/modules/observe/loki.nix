# Loki: logs of all hosts, kept for `retention.logs_days`. trace_id is structured metadata and not a label,
# which would create one stream for each request.
{
  config,
  lib,
  barnabeeLib,
  ...
}:
let
  inherit (config.barnabee) name network;
  address = barnabeeLib.hostAddress;
  directory = config.services.loki.dataDir;
  port = 3100;
in
{
  config = lib.mkMerge [
    (lib.mkIf (lib.elem "monitoring" config.barnabee.roles) {
      services.loki = {
        enable = true;
        configuration = {
          auth_enabled = false; # the firewall admits the deployment's hosts only
          server = {
            http_listen_address = address;
            http_listen_port = port;
            grpc_listen_address = "127.0.0.1";
          };
          common = {
            instance_addr = "127.0.0.1";
            path_prefix = directory;
            replication_factor = 1;
            ring.kvstore.store = "inmemory";
          };
          schema_config.configs = [
            {
              from = "2026-01-01";
              store = "tsdb";
              object_store = "filesystem";
              schema = "v13";
              index = {
                prefix = "index_";
                period = "24h";
              };
            }
          ];
          storage_config.filesystem.directory = "${directory}/chunks";
          limits_config = {
            allow_structured_metadata = true;
            discover_service_name = [ ]; # it would add a fourth label
            retention_period = "${toString (barnabeeLib.graph.retention.logs_days * 24)}h";
          };
          compactor = {
            working_directory = "${directory}/compactor";
            delete_request_store = "filesystem";
            retention_enabled = true;
          };
          analytics.reporting_enabled = false;
        };
      };
      systemd.services.loki = {
        aliases = [ "barnabee-loki.service" ];
        wantedBy = [ "barnabee.target" ];
        serviceConfig = barnabeeLib.privateNetworkOnly;
      };
      barnabee.network.rules = [
        {
          inherit port;
          from = lib.filter (host: host != name) (lib.attrNames network.addresses);
        }
      ];
    })
    { _module.args.lokiPort = port; }
  ];
}
