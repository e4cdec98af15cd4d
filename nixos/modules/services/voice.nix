# Voice service: conversations in rooms over WebRTC.
{
  config,
  lib,
  barnabeeLib,
  ...
}:
let
  inherit (config.barnabee) dataDir fillers;
in
{
  config = lib.mkIf (barnabeeLib.runsService "voice") {
    systemd.services.barnabee-voice = lib.mkMerge [
      (barnabeeLib.mkService "voice" {
        group = "barnabee";
        outbound = true; # WebRTC media goes to the client's address
        compiles = true; # onnxruntime: voice activity and end-of-turn detection
        writes = lib.optional barnabeeLib.graph.recording.enabled dataDir;
        serviceConfig = {
          # aiortc lists the host's interfaces for its ICE candidates.
          RestrictAddressFamilies = [
            "AF_INET"
            "AF_INET6"
            "AF_NETLINK"
            "AF_UNIX"
          ];
        };
      })
      (lib.mkIf (fillers != null) {
        environment.BARNABEE_FILLERS = "${fillers}";
      })
    ];
  };
}
