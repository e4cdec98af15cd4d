# nginx: the one door of the house. TLS from an authority of one's own or by ACME (DNS-01); websockets
# and streamed answers pass unbuffered; each address has a rate.
{
  config,
  lib,
  house,
  ...
}:
let
  cfg = config.barnabee.proxy;
  here = house.runs "api"; # also on a stand-by, once it serves
  tls = [
    "tls_certificate"
    "tls_key"
  ];
  headers = lib.importJSON ../../../src/dashboard/headers.json; # as the api sends them
  stream = {
    proxyWebsockets = true;
    extraConfig = ''
      proxy_buffering off;
      proxy_read_timeout 1h;
      limit_req zone=house burst=40 nodelay;
    '';
  };
in
{
  options.barnabee.proxy = {
    hostName = lib.mkOption {
      type = lib.types.str;
      default = "barnabee.home.arpa";
      description = "The name under which browsers find the house.";
      example = "barnabee.example.org";
    };
    acme = lib.mkOption {
      type = lib.types.bool;
      default = false;
      description = ''
        Have the certificate by ACME (DNS-01: the house is not reached from outside). Otherwise it is the
        secret `tls_certificate` with its key `tls_key`, of an authority of one's own.
      '';
      example = true;
    };
    dashboard = lib.mkOption {
      type = lib.types.nullOr lib.types.package;
      default = null;
      description = "The built dashboard to serve; null while there is none.";
      example = lib.literalExpression "pkgs.barnabee-dashboard";
    };
    requestsPerSecond = lib.mkOption {
      type = lib.types.ints.positive;
      default = 20;
      description = "How many requests one address may make each second, beyond bursts.";
      example = 50;
    };
  };

  config = lib.mkIf here {
    services.nginx = {
      enable = true;
      recommendedGzipSettings = true;
      recommendedOptimisation = true;
      recommendedProxySettings = true;
      recommendedTlsSettings = true;
      appendHttpConfig = ''
        limit_req_zone $binary_remote_addr zone=house:1m rate=${toString cfg.requestsPerSecond}r/s;
      '';
      virtualHosts.${cfg.hostName} = {
        default = true;
        forceSSL = true;
        enableACME = cfg.acme;
        sslCertificate = lib.mkIf (!cfg.acme) "/run/credentials/nginx.service/tls_certificate";
        sslCertificateKey = lib.mkIf (!cfg.acme) "/run/credentials/nginx.service/tls_key";
        acmeRoot = null; # DNS-01: the house is not reached from the Internet
        root = lib.mkIf (cfg.dashboard != null) "${cfg.dashboard}";
        extraConfig = ''
          client_max_body_size ${toString house.graph.limits.audio_max_mib}m;
          add_header Strict-Transport-Security "max-age=31536000" always;
        ''
        + lib.concatStrings (
          lib.mapAttrsToList (name: value: "add_header ${name} \"${value}\" always;\n") headers
        );
        locations = {
          "/api/" = stream // {
            proxyPass = house.urlOf "http" "api";
          };
          "/v1/" = stream // {
            proxyPass = house.urlOf "http" "api";
          };
          "/health".proxyPass = house.urlOf "http" "api";
          "/login" = stream // {
            proxyPass = house.urlOf "http" "api";
          };
          "/" =
            if cfg.dashboard == null then
              stream // { proxyPass = house.urlOf "http" "api"; }
            else
              {
                tryFiles = "$uri /index.html";
                extraConfig = "expires -1;";
              };
        }
        // lib.optionalAttrs (cfg.dashboard != null) {
          "/assets/".extraConfig = "expires 1y;"; # their names hold their content's hash
          "= /headers.json".return = "404"; # is for us
        }
        // lib.optionalAttrs (house.graph.service ? voice) {
          "/voice/" = stream // {
            proxyPass = "${house.urlOf "http" "voice"}/"; # it knows no prefix
          };
        };
      };
    };

    systemd.services.nginx = {
      aliases = [ "barnabee-proxy.service" ];
      wantedBy = lib.mkForce [ "barnabee.target" ];
      partOf = [ "barnabee.target" ];
      serviceConfig.LoadCredential = lib.optionals (!cfg.acme) (
        map (name: "${name}:${toString (config.barnabee.secrets.fileOf name)}") tls
      );
    };
    barnabee.secrets.needed = lib.mkIf (!cfg.acme) tls;

    assertions = [
      {
        assertion = cfg.acme -> config.security.acme.defaults.dnsProvider != null;
        message = "barnabee.proxy.acme needs security.acme.defaults.dnsProvider: the house answers no challenge from outside.";
      }
      {
        assertion = cfg.acme || lib.all (name: config.barnabee.secrets.fileOf name != null) tls;
        message = "barnabee.secrets.unused leaves nginx without a certificate; keep tls_certificate and tls_key, or set barnabee.proxy.acme.";
      }
    ];
  };
}
