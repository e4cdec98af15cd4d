# nginx, the reverse proxy: TLS with an own certificate or by ACME (DNS-01), unbuffered WebSockets and
# streamed responses, a request rate limit for each client address.
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
  tlsSecrets = [
    "tls_certificate"
    "tls_key"
  ];
  headers = lib.importJSON ../../../src/dashboard/headers.json; # those that the API sends
  unbuffered = {
    proxyWebsockets = true;
    extraConfig = ''
      proxy_buffering off;
      proxy_read_timeout 1h;
      limit_req zone=clients burst=40 nodelay;
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
    requestsPerSecond = lib.mkOption {
      type = lib.types.ints.positive;
      default = 20;
      description = "Rate limit of one client address, in requests per second.";
      example = 50;
    };
  };

  config = lib.mkIf enabled {
    services.nginx = {
      enable = true;
      recommendedGzipSettings = true;
      recommendedOptimisation = true;
      recommendedProxySettings = true;
      recommendedTlsSettings = true;
      appendHttpConfig = ''
        limit_req_zone $binary_remote_addr zone=clients:1m rate=${toString cfg.requestsPerSecond}r/s;
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
        );
        locations = {
          "/api/" = unbuffered // {
            proxyPass = barnabeeLib.urlOf "http" "api";
          };
          "/v1/" = unbuffered // {
            proxyPass = barnabeeLib.urlOf "http" "api";
          };
          "/health".proxyPass = barnabeeLib.urlOf "http" "api";
          "/login" = unbuffered // {
            proxyPass = barnabeeLib.urlOf "http" "api";
          };
          "/" =
            if cfg.dashboard == null then
              unbuffered // { proxyPass = barnabeeLib.urlOf "http" "api"; }
            else
              {
                tryFiles = "$uri /index.html";
                extraConfig = "expires -1;";
              };
        }
        // lib.optionalAttrs (cfg.dashboard != null) {
          "/assets/".extraConfig = "expires 1y;"; # the file names contain a hash of the content
          "= /headers.json".return = "404"; # input of this file
        }
        // lib.optionalAttrs (barnabeeLib.graph.service ? voice) {
          "/voice/" = unbuffered // {
            proxyPass = "${barnabeeLib.urlOf "http" "voice"}/"; # strips the prefix
          };
        };
      };
    };

    systemd.services.nginx = {
      aliases = [ "barnabee-proxy.service" ];
      wantedBy = lib.mkForce [ "barnabee.target" ];
      partOf = [ "barnabee.target" ];
      serviceConfig.LoadCredential = lib.optionals (!cfg.acme) (
        map (name: "${name}:${toString (config.barnabee.secrets.fileOf name)}") tlsSecrets
      );
    };
    barnabee.secrets.needed = lib.mkIf (!cfg.acme) tlsSecrets;

    assertions = [
      {
        assertion = cfg.acme -> config.security.acme.defaults.dnsProvider != null;
        message = "barnabee.proxy.acme needs security.acme.defaults.dnsProvider, because the host is not reachable from the Internet; set it.";
      }
      {
        assertion = cfg.acme || lib.all (name: config.barnabee.secrets.fileOf name != null) tlsSecrets;
        message = "barnabee.secrets.unused leaves nginx without a certificate; remove tls_certificate and tls_key from it, or set barnabee.proxy.acme.";
      }
    ];
  };
}
