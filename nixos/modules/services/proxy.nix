# nginx, the reverse proxy and the only TCP service that faces the home network: TLS with an own certificate or by
# ACME (DNS-01), limits for each client address, unbuffered WebSockets and streamed responses.
{
  config,
  lib,
  barnabeeLib,
  ...
}:
let
  cfg = config.barnabee.proxy;
  # On a standby too: it serves after a promotion.
  enabled = barnabeeLib.runsService "api";
  hasNginx = config.services.nginx.enable; # another module may switch it off
  hasOwnCertificate = hasNginx && !cfg.acme;
  proxied = [ "api" ] ++ lib.optional (barnabeeLib.graph.service ? voice) "voice";
  tlsSecrets = [
    "tls_certificate"
    "tls_key"
  ];
  headers = lib.importJSON ../../../src/dashboard/headers.json; # those that the API sends
  # An empty prefix removes the header.
  forwarded = {
    extraConfig = builtins.readFile ../../proxy/location.conf + ''
      proxy_set_header X-Forwarded-Prefix "${cfg.prefix}";
    '';
  };
  toApi = forwarded // {
    proxyPass = barnabeeLib.urlOf "http" "api";
  };
  # Grafana has its own Content-Security-Policy, and a page of a hundred files. Its path contains the prefix.
  toGrafana = {
    proxyPass = "http://${barnabeeLib.addressOfHost cfg.grafana}:${toString config.services.grafana.settings.server.http_port}${cfg.prefix}/grafana/";
    extraConfig = lib.replaceStrings [ "burst=40" ] [ "burst=400" ] forwarded.extraConfig + ''
      add_header Strict-Transport-Security "max-age=31536000" always;
    '';
  };
in
{
  options.barnabee.proxy = {
    hostName = lib.mkOption {
      type = lib.types.str;
      default = "barnabee.home.arpa";
      description = "Host name of the dashboard and the API for browsers.";
      example = "barnabee.example.org";
    };
    acme = lib.mkOption {
      type = lib.types.bool;
      default = false;
      description = ''
        Get the certificate by ACME (DNS-01, because the host is not reachable from the Internet).
        Otherwise the secrets `tls_certificate` and `tls_key` are the certificate and its key.
      '';
      example = true;
    };
    dashboard = lib.mkOption {
      type = lib.types.nullOr lib.types.package;
      default = null;
      description = "Package of the built dashboard; null for the pages that the API serves.";
      example = lib.literalExpression "pkgs.barnabee-dashboard";
    };
    prefix = lib.mkOption {
      type = lib.types.strMatching "(/[A-Za-z0-9._~-]+)*";
      default = "";
      description = ''
        Path below which browsers see the dashboard, when another reverse proxy serves it there. Requests may
        arrive with or without it. The monitoring host needs it too, for Grafana.
      '';
      example = "/barnabee";
    };
    grafana = lib.mkOption {
      type = lib.types.nullOr lib.types.str;
      default = if barnabeeLib.monitors == [ ] then null else lib.head barnabeeLib.monitors;
      defaultText = lib.literalMD "the host with the role monitoring, if it has an address";
      description = "Host whose Grafana is served at `/grafana/`; null for none.";
      example = null;
    };
    trustedProxies = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [ ];
      description = ''
        Addresses and networks of reverse proxies in front of this one. Their `X-Forwarded-For` names the client;
        that of others is ignored.
      '';
      example = [ "192.168.1.5" ];
    };
    requestsPerSecond = lib.mkOption {
      type = lib.types.ints.positive;
      default = 20;
      description = "Rate limit of one client address, in requests per second.";
      example = 50;
    };
  };

  config = lib.mkIf enabled {
    # nginx connects to a local address from the same address.
    barnabee.settings.BARNABEE_TRUSTED_PROXIES = lib.mkDefault (
      lib.concatStringsSep "," (lib.unique (map barnabeeLib.addressOf proxied))
    );

    services.nginx = {
      enable = true;
      recommendedGzipSettings = true;
      recommendedTlsSettings = true;
      # A forwarded request uses two connections.
      eventsConfig = "worker_connections 4096;";
      appendConfig = "worker_rlimit_nofile 8192;";
      commonHttpConfig =
        builtins.readFile ../../proxy/http.conf
        + ''
          limit_req_zone $binary_remote_addr zone=clients:1m rate=${toString cfg.requestsPerSecond}r/s;
        ''
        + lib.optionalString (cfg.trustedProxies != [ ]) ''
          ${lib.concatMapStrings (address: "set_real_ip_from ${address};\n") cfg.trustedProxies}
          real_ip_header X-Forwarded-For;
          real_ip_recursive on;
        '';
      virtualHosts.${cfg.hostName} = {
        default = true;
        forceSSL = true;
        enableACME = cfg.acme;
        sslCertificate = lib.mkIf (!cfg.acme) "/run/credentials/nginx.service/tls_certificate";
        sslCertificateKey = lib.mkIf (!cfg.acme) "/run/credentials/nginx.service/tls_key";
        acmeRoot = null; # DNS-01: no challenge over HTTP
        root = lib.mkIf (cfg.dashboard != null) "${cfg.dashboard}";
        extraConfig = ''
          client_max_body_size ${toString barnabeeLib.graph.limits.audio_max_mib}m;
          add_header Strict-Transport-Security "max-age=31536000" always;
        ''
        + lib.concatStrings (
          lib.mapAttrsToList (name: value: "add_header ${name} \"${value}\" always;\n") headers
        )
        + lib.optionalString (cfg.prefix != "") ''
          absolute_redirect off;
          rewrite ^${cfg.prefix}$ ${cfg.prefix}/ permanent;
          rewrite ^${cfg.prefix}(/.*)$ $1;
        '';
        locations =
          (
            if cfg.dashboard == null then
              { "/" = toApi; }
            else
              {
                "~ ^/(api/|v1/|health|login)" = toApi;
                "/" = {
                  tryFiles = "$uri $uri/ =404";
                  extraConfig = "expires -1;";
                };
                "/assets/".extraConfig = "expires 1y;"; # the file names contain a hash of the content
                "= /headers.json".return = "404"; # input of this file
              }
          )
          // lib.optionalAttrs (barnabeeLib.graph.service ? voice) {
            "/voice/" = forwarded // {
              proxyPass = "${barnabeeLib.urlOf "http" "voice"}/"; # strips the prefix
            };
          }
          // lib.optionalAttrs (cfg.grafana != null) { "/grafana/" = toGrafana; };
      };
    };

    systemd.services.nginx = lib.mkIf hasNginx {
      aliases = [ "barnabee-proxy.service" ];
      wantedBy = lib.mkForce [ "barnabee.target" ];
      partOf = [ "barnabee.target" ];
      serviceConfig.LoadCredential = lib.optionals hasOwnCertificate (
        map (name: "${name}:${toString (config.barnabee.secrets.fileOf name)}") tlsSecrets
      );
    };
    barnabee.secrets.needed = lib.mkIf hasOwnCertificate tlsSecrets;

    assertions = [
      {
        assertion = cfg.acme -> config.security.acme.defaults.dnsProvider != null;
        message = "barnabee.proxy.acme needs security.acme.defaults.dnsProvider, because the host is not reachable from the Internet; set it.";
      }
      {
        assertion =
          hasOwnCertificate -> lib.all (name: config.barnabee.secrets.fileOf name != null) tlsSecrets;
        message = "barnabee.secrets.unused leaves nginx without a certificate; remove tls_certificate and tls_key from it, or set barnabee.proxy.acme.";
      }
    ];
  };
}
