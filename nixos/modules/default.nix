# The modules, each after those it leans on.
{
  imports = [
    ./system.nix
    ./network.nix
    ./secrets.nix
    ./house.nix

    ./services/redis.nix
    ./services/restore.nix
    ./services/litestream.nix
    ./services/gpu.nix
    ./services/worker.nix
    ./services/api.nix
    ./services/voice.nix
    ./services/proxy.nix
    ./backup.nix

    ./health.nix
    ./standby-facts.nix
    ./address.nix
    ./standby.nix
    ./gpu.nix
    ./passthrough.nix
    ./proxmox.nix
    ./deploy-units.nix
    ./deploy-facts.nix
    ./deploy.nix

    ./observe/exporters.nix
    ./observe/prometheus.nix
    ./observe/alertmanager.nix
    ./observe/loki.nix
    ./observe/alloy.nix
    ./observe/grafana.nix
  ];
}
