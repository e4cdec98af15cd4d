# Ports that are open beyond those of the service graph.
{ lib, ... }:
{
  options.barnabee.network = {
    public = {
      tcp = lib.mkOption {
        type = lib.types.listOf lib.types.port;
        default = [ ];
        description = "TCP ports of the core host that are open to the home network.";
        example = [ 443 ];
      };
      udp = lib.mkOption {
        type = lib.types.listOf (lib.types.attrsOf lib.types.port);
        default = [ ];
        description = "Ranges of UDP ports that are open to the home network (WebRTC media).";
        example = [
          {
            from = 10000;
            to = 10100;
          }
        ];
      };
    };
    rules = lib.mkOption {
      type = lib.types.listOf (
        lib.types.submodule {
          options = {
            port = lib.mkOption {
              type = lib.types.port;
              description = "TCP port to open.";
              example = 9100;
            };
            from = lib.mkOption {
              type = lib.types.listOf lib.types.str;
              description = "Hosts that may connect to it.";
              example = [ "barnabee-monitoring" ];
            };
          };
        }
      );
      default = [ ];
      description = "Open ports beyond those of the service graph, and the hosts that may connect.";
      example = [
        {
          port = 9100;
          from = [ "barnabee-monitoring" ];
        }
      ];
    };
  };
}
