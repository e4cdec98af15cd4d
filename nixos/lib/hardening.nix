# What every service of ours gives up. mk-service.nix lays this under each unit; what a service
# needs back it says there, by name. `systemd-analyze security` figures: docs/status.md.
{
  CapabilityBoundingSet = "";
  DevicePolicy = "closed";
  KeyringMode = "private";
  LockPersonality = true;
  MemoryDenyWriteExecute = true;
  NoNewPrivileges = true;
  PrivateDevices = true;
  PrivateIPC = true;
  PrivateMounts = true;
  PrivateTmp = true;
  PrivateUsers = true;
  # Not "pid": prometheus-client reads /proc/stat for the start time and psutil /proc/meminfo.
  ProcSubset = "all";
  ProtectClock = true;
  ProtectControlGroups = true;
  ProtectHome = true;
  ProtectHostname = true;
  ProtectKernelLogs = true;
  ProtectKernelModules = true;
  ProtectKernelTunables = true;
  ProtectProc = "invisible";
  ProtectSystem = "strict";
  RemoveIPC = true;
  # AF_UNIX: systemd's notify socket and litestream's control socket.
  RestrictAddressFamilies = [
    "AF_INET"
    "AF_INET6"
    "AF_UNIX"
  ];
  RestrictNamespaces = true;
  RestrictRealtime = true;
  RestrictSUIDSGID = true;
  SystemCallArchitectures = "native";
  SystemCallErrorNumber = "EPERM";
  SystemCallFilter = [
    "@system-service"
    "~@privileged @resources"
  ];
  # What is written is for the service and its group (the database: group barnabee).
  UMask = "0007";
}
