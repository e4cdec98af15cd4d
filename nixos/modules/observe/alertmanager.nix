# Alertmanager: notifications to Home Assistant's webhook, critical ones by mail too, and a heartbeat to an
# external service. nixos/monitoring/alertmanager.json has receivers and routes; receivers without a secret
# are left out.
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
  alerts = import ../../lib/alerts.nix { inherit lib; };
  credentials = [
    "home_assistant_webhook"
    "heartbeat_url"
  ]
  ++ lib.optional (cfg.mail != null) "smtp_password";
  used = lib.filter (name: secrets.fileOf name != null) credentials;
  credential =
    name: if lib.elem name used then "/run/credentials/alertmanager.service/${name}" else null;
  port = graph.companion.alertmanager.port;
  textOption =
    description: example:
    lib.mkOption {
      type = lib.types.str;
      inherit description example;
    };
in
{
  options.barnabee.alerts.mail = lib.mkOption {
    type = lib.types.nullOr (
      lib.types.submodule {
        options = {
          to = textOption "Recipient of critical alerts." "family@example.org";
          from = textOption "Sender address; the provider must allow it." "barnabee@example.org";
          smarthost = textOption "Host and port of the provider's SMTP server." "smtp.gmail.com:587";
          username = textOption "SMTP user; its password is the secret `smtp_password`." "barnabee@example.org";
        };
      }
    );
    default = null;
    description = "Mail receiver of critical alerts (Gmail, Azure Communication Services); null for none.";
    example = {
      to = "family@example.org";
      from = "barnabee@example.org";
      smarthost = "smtp.azurecomm.net:587";
      username = "barnabee.example";
    };
  };

  config = lib.mkIf (lib.elem "monitoring" config.barnabee.roles) {
    barnabee.secrets.needed = credentials;
    services.prometheus.alertmanager = {
      enable = true;
      listenAddress = barnabeeLib.hostAddress;
      inherit port;
      extraFlags = [ "--cluster.listen-address=" ]; # a single instance: no gossip port
      configuration = alerts.alertmanagerConfig graph {
        webhook_file = credential "home_assistant_webhook";
        heartbeat_file = credential "heartbeat_url";
        mail_to = cfg.mail.to or null;
        mail_from = cfg.mail.from or null;
        mail_host = cfg.mail.smarthost or null;
        mail_user = cfg.mail.username or null;
        mail_password_file = credential "smtp_password";
        mail_tls = true;
      };
    };
    systemd.services.alertmanager = {
      aliases = [ "barnabee-alertmanager.service" ];
      wantedBy = [ "barnabee.target" ];
      serviceConfig.LoadCredential = map (name: "${name}:${secrets.fileOf name}") used;
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
