# Voice: a spoken question over WebSocket, through nginx with TLS, is answered aloud; the page and its protection.
{ machines, pkgs, ... }:
{
  machines = {
    inherit (machines) backup gpu;
    core.imports = [
      machines.core
      { barnabee.proxy.dashboard = pkgs.barnabee-dashboard; }
    ];
    satellite =
      { containers, ... }:
      let
        inherit (containers) core;
      in
      {
        networking.hosts.${core.networking.primaryIPAddress} = [ core.barnabee.name ]; # as in the certificate
        environment.etc."proxy.pem".source = core.testSecrets.tls_certificate;
        environment.systemPackages = [
          (pkgs.writeShellScriptBin "ask-aloud" ''
            exec ${pkgs.barnabee.env}/bin/python ${./ask_aloud.py} "$@"
          '')
        ];
      };
  };
}
