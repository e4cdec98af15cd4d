# A microphone in a room becomes a conversation; only where the graph has it.
{
  config,
  lib,
  house,
  ...
}:
{
  config = lib.mkIf (house.runs "voice") {
    systemd.services.barnabee-voice = house.mkService "voice" {
      exec = "${house.python} -m barnabee.voice";
      group = "barnabee";
      outbound = true; # media goes to wherever the microphone is
      compiles = true; # onnxruntime: voice activity and the end of a turn
      writes = lib.optional house.graph.recording.enabled config.barnabee.dataDir;
      serviceConfig = {
        # aiortc looks at the machine's interfaces for its candidates.
        RestrictAddressFamilies = [
          "AF_INET"
          "AF_INET6"
          "AF_NETLINK"
          "AF_UNIX"
        ];
      };
    };
  };
}
