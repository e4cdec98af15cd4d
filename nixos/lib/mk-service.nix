# One node of the graph as a systemd unit: the only place for restart, readiness, watchdog, limits,
# credentials and hardening. What a unit does comes from system.toml; how it is run is passed in.
{
  lib,
  graph, # the merged system.toml
  here, # names of the services on this machine
  environment, # what every service of ours is told
  credentialFile, # name -> file with the secret, or null when this house does without
  ownNetworks, # addresses that a service without business outside may talk to
}:
name:
{
  description ? null, # default: the summary of system.toml
  exec, # the command line
  user ? "barnabee-${name}",
  group ? "barnabee-${name}",
  readiness ? "notify", # notify: it says READY itself; exec: `probe` is asked; exit: a oneshot
  probe ? null, # a command that ends with 0 once the service is ready, for readiness = "exec"
  ours ? true, # exit status 2 means that somebody must mend something: no second try
  watchdog ? readiness == "notify" && ours, # its event loop feeds systemd's watchdog
  outbound ? false, # it may talk to the world
  compiles ? false, # it writes code into memory (onnxruntime, triton, espeak's callbacks)
  writes ? [ ], # paths it may write
  serviceConfig ? { }, # what no other unit needs
}:
let
  node = graph.service.${name};
  local = lib.filter (other: lib.elem other here);
  unit = other: "barnabee-${other}.service";
  needs = map unit (local node.needs);
  # Ordered as well, so that litestream stops after those who write. A wanted service that fails
  # to start holds nobody back longer than its own start-up budget.
  wants = map unit (local node.wants);
  ordered = map unit (local ((import ./system.nix).ordering graph).${name});
  oneshot = node.kind == "oneshot";
  credentials = lib.filter (credential: credentialFile credential != null) node.credentials;
  restart = if node.restart == "never" then "no" else node.restart;
in
{
  description = "BarnabeeNet: ${if description == null then node.summary else description}";
  wantedBy = [ "barnabee.target" ];
  partOf = [ "barnabee.target" ];
  after = [ "network-online.target" ] ++ ordered;
  wants = [ "network-online.target" ] ++ wants;
  requires = needs;
  inherit environment;

  startLimitBurst = node.start_limit_burst;
  startLimitIntervalSec = node.start_limit_interval_s;

  serviceConfig =
    import ./hardening.nix
    // {
      Type =
        {
          notify = "notify";
          exec = "exec";
          exit = "oneshot";
        }
        .${readiness};
      ExecStart = exec;
      User = user;
      Group = group;
      Slice = "barnabee.slice";

      TimeoutStartSec = node.startup_budget_s;
      TimeoutStopSec = node.stop_timeout_s;
      Restart = restart;
      RestartSec = "${toString node.restart_delay_ms}ms";
      # Doubling up to 10 s as up/plan.py does, so that a service is back within 15 s.
      RestartSteps = 5;
      RestartMaxDelaySec = "10s";
      # Whoever needs this one does not fail because it starts a second time.
      RestartMode = "direct";

      MemoryMax = "${toString node.memory_max_mib}M";
      MemorySwapMax = 0;
      OOMPolicy = "kill";
      LoadCredential = map (credential: "${credential}:${credentialFile credential}") credentials;

      MemoryDenyWriteExecute = !compiles;
      ReadWritePaths = writes;
    }
    // lib.optionalAttrs oneshot { RemainAfterExit = true; }
    // lib.optionalAttrs watchdog { WatchdogSec = node.watchdog_s; }
    // lib.optionalAttrs (readiness == "notify") { NotifyAccess = "main"; }
    // lib.optionalAttrs (probe != null) { ExecStartPost = probe; }
    // lib.optionalAttrs ours { RestartPreventExitStatus = 2; }
    // lib.optionalAttrs (!outbound) {
      IPAddressDeny = "any";
      IPAddressAllow = ownNetworks;
    }
    // serviceConfig;
}
