# Alertmanager: notifications to Home Assistant's webhook, critical ones by mail too, and a heartbeat to an
# external service. A receiver without its secret is left out.
{
  config,
  lib,
  barnabeeLib,
  ...
}:
let
  inherit (config.barnabee) secrets network;
  inherit (barnabeeLib) graph graphLib;
  cfg = config.barnabee.alerts;
  credentials = [
    "home_assistant_webhook"
    "heartbeat_url"
  ]
  ++ lib.optional (cfg.mail != null) "smtp_password";
  used = lib.filter (name: secrets.fileOf name != null) credentials;
  credential =
    placeholder: name:
    lib.optionalAttrs (lib.elem name used) {
      ${placeholder} = "/run/credentials/alertmanager.service/${name}";
    };
  port = graph.companion.alertmanager.port;
in
{
  config = lib.mkIf (lib.elem "monitoring" config.barnabee.roles) {
    barnabee.secrets.needed = credentials;
    barnabee.alerts.channels =
      credential "webhook_file" "home_assistant_webhook"
      // credential "heartbeat_file" "heartbeat_url"
      // credential "mail_password_file" "smtp_password"
      // lib.optionalAttrs (cfg.mail != null) {
        mail_to = cfg.mail.to;
        mail_from = cfg.mail.from;
        mail_host = cfg.mail.smarthost;
        mail_user = cfg.mail.username;
        mail_tls = true;
      };
    services.prometheus.alertmanager = {
      enable = true;
      listenAddress = barnabeeLib.hostAddress;
      inherit port;
      configuration = { }; # not used: ExecStart names the file that the package wrote
    };
    systemd.services.alertmanager = {
      aliases = [ "barnabee-alertmanager.service" ];
      wantedBy = [ "barnabee.target" ];
      preStart = lib.mkForce "";
      serviceConfig = {
        LoadCredential = map (name: "${name}:${secrets.fileOf name}") used;
        ExecStart = lib.mkForce (
          lib.escapeShellArgs [
            (lib.getExe' config.services.prometheus.alertmanager.package "alertmanager")
            "--config.file=${cfg.files}/alertmanager.json"
            "--web.listen-address=${barnabeeLib.hostAddress}:${toString port}"
            "--storage.path=/var/lib/alertmanager"
            "--cluster.listen-address=" # a single instance: no gossip port
          ]
        );
      };
    };
    # For `barnabee alert` in a shell on this host.
    environment.systemPackages = [ config.barnabee.package ];
    environment.variables = lib.filterAttrs (
      name: _:
      lib.elem name [
        "ALERTMANAGER_URL"
        "HOME_ASSISTANT_URL"
      ]
    ) barnabeeLib.environment;
    # Core reads the alerts for the dashboard and `barnabee accept`; the gateway runs `barnabee alert test`.
    barnabee.network.rules = [
      {
        inherit port;
        from =
          graphLib.hostsWithRole graph "core" ++ lib.optional (network.gateway != null) network.gateway;
      }
    ];
  };
}
