# mkService: the systemd unit of a service of the graph, with restart policy, readiness, watchdog, limits,
# credentials and hardening from system.toml.
{
  lib,
  graph, # the merged system.toml
  localServices, # names of the services on this host
  environment, # environment variables of all services
  credentialFile, # name -> path of the secret, or null when it is unused
  unusedLlmKeys, # names of the language model's key that are not in use
  derivedCredentials, # names of the tokens that are in /run/barnabee-tokens, where they may be replaced
  python, # the interpreter with the package
  ownNetworks, # addresses that a service may connect to unless it is outbound
}:
name:
{
  description ? null, # default: the summary of system.toml
  exec ? "${python} -m ${graph.service.${name}.module}", # the command line
  user ? "barnabee-${name}",
  group ? "barnabee-${name}",
  readiness ? "notify", # notify: sends READY=1; exec: `probe` decides; exit: a oneshot
  probe ? null, # command that exits with 0 once the service is ready, for readiness = "exec"
  # A BarnabeeNet program: exit status 2 means a configuration error, so that systemd does not restart it.
  # barnabee-supervisor does, as it does with units that reached their start limit (health.nix).
  ours ? true,
  watchdog ? readiness == "notify" && ours, # its event loop feeds systemd's watchdog
  outbound ? false, # may connect to any network
  compiles ? false, # writes executable memory (onnxruntime, triton, espeak's callbacks)
  writes ? [ ], # writable paths
  serviceConfig ? { }, # further options of this unit
}:
let
  node = graph.service.${name};
  local = lib.filter (other: lib.elem other localServices);
  unit = other: "barnabee-${other}.service";
  needs = map unit (local node.needs);
  # Ordered as well, so that litestream stops after the writers. A wanted service that fails to start
  # delays this one by its start-up budget at most.
  wants = map unit (local node.wants);
  ordered = map unit (local ((import ./system.nix).startOrder graph).${name});
  oneshot = node.kind == "oneshot";
  credentials = lib.filter (credential: credentialFile credential != null) (
    lib.subtractLists (derivedCredentials ++ unusedLlmKeys) node.credentials
  );
  hasTokens = node.module != null;
  tokensUnit = lib.optional hasTokens "barnabee-tokens.service";
  # A daemon that ends without being stopped has failed, whatever its exit status.
  restart = if node.restart == "never" then "no" else if oneshot then "on-failure" else "always";
in
{
  description = "BarnabeeNet: ${if description == null then node.summary else description}";
  wantedBy = [ "barnabee.target" ];
  partOf = [ "barnabee.target" ];
  after = [ "network-online.target" ] ++ tokensUnit ++ ordered;
  wants = [ "network-online.target" ] ++ tokensUnit ++ wants;
  requires = needs;
  environment =
    environment // lib.optionalAttrs hasTokens { BARNABEE_TOKENS = "/run/barnabee-tokens/${name}"; };

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
      # Exponential back-off up to 10 s, as in the local runner, so that a service restarts within 15 s.
      RestartSteps = 5;
      RestartMaxDelaySec = "10s";
      # Dependents do not fail when this unit restarts.
      RestartMode = "direct";

      MemoryMax = "${toString node.memory_max_mib}M";
      MemorySwapMax = 0;
      LimitNOFILE = 65536; # connections are limited far below it (core/connection_limits.py)
      OOMPolicy = "kill";
      LoadCredential = map (credential: "${credential}:${credentialFile credential}") credentials;

      MemoryDenyWriteExecute = !compiles;
      ReadWritePaths = writes;
    }
    // lib.optionalAttrs oneshot { RemainAfterExit = true; }
    // lib.optionalAttrs hasTokens { SupplementaryGroups = [ "barnabee-${name}" ]; }
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
