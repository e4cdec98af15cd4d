# Loki: the logs of all machines, for [retention] logs_days. trace_id is structured metadata and no
# label: one stream for each request would sink it.
{
  config,
  lib,
  house,
  ...
}:
let
  inherit (config.barnabee) name network;
  address = house.address;
  directory = config.services.loki.dataDir;
  port = 3100;
in
{
  config = lib.mkMerge [
    (lib.mkIf (lib.elem "monitoring" config.barnabee.roles) {
      services.loki = {
        enable = true;
        configuration = {
          auth_enabled = false; # the firewall lets in the machines of the house alone
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
            discover_service_name = [ ]; # it would make a fourth label of `component`
            retention_period = "${toString (house.graph.retention.logs_days * 24)}h";
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
        serviceConfig = house.inside;
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
