# Prometheus, Alertmanager, Loki, Grafana.
{
  imports = [
    ../../nixos/profiles/base.nix
    ../../nixos/profiles/monitoring.nix
  ];
  networking.hostName = "barnabee-monitoring";
}
