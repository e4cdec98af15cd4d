# Monitoring: a log line of a service is found in Loki, an alert reaches Home Assistant, Grafana is behind the proxy.
{ machines, pkgs, ... }:
{
  machines = {
    inherit (machines)
      backup
      core
      gpu
      home
      ;
    monitoring.imports = [
      machines.monitoring
      { environment.systemPackages = [ pkgs.grafana-loki ]; } # logcli
    ];
  };
}
