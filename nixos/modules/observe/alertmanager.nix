# Alertmanager: to Home Assistant's webhook, by mail what cannot wait, and a heartbeat to the outside.
# Ways and routes are those of nixos/monitoring/alertmanager.json; what a house lacks is left out.
{
  config,
  lib,
  house,
  ...
}:
let
  inherit (config.barnabee) secrets network;
  inherit (house) graph graphs;
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
  text =
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
          to = text "Who gets what is critical." "family@example.org";
          from = text "Who sends it; the provider must allow the address." "house@example.org";
          smarthost = text "The provider's server and port." "smtp.gmail.com:587";
          username = text "The user at that server; the password is the secret `smtp_password`." "house@example.org";
        };
      }
    );
    default = null;
    description = "The second way of alerts, by mail (Gmail, Azure Communication Services); null for none.";
    example = {
      to = "family@example.org";
      from = "house@example.org";
      smarthost = "smtp.azurecomm.net:587";
      username = "house.barnabee";
    };
  };

  config = lib.mkIf (lib.elem "monitoring" config.barnabee.roles) {
    barnabee.secrets.needed = credentials;
    services.prometheus.alertmanager = {
      enable = true;
      listenAddress = house.address;
      inherit port;
      extraFlags = [ "--cluster.listen-address=" ]; # one of it: no gossip port
      configuration = alerts.alertmanager graph {
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
    # `barnabee alert` on this machine: where Alertmanager and Home Assistant are.
    environment.systemPackages = [ config.barnabee.package ];
    environment.variables = lib.filterAttrs (
      name: _:
      lib.elem name [
        "ALERTMANAGER_URL"
        "HOME_ASSISTANT_URL"
      ]
    ) house.environment;
    # Core shows what is wrong and asks in `barnabee accept`; the machine beneath tries whether alerts arrive.
    barnabee.network.rules = [
      {
        inherit port;
        from = graphs.hostsWith graph "core" ++ lib.optional (network.gateway != null) network.gateway;
      }
    ];
  };
}
