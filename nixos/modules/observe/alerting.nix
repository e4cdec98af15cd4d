# Configuration of Alertmanager, and the rules of Prometheus that system.toml gives: written at build time by
# the package, as for the local runner, from nixos/monitoring/alertmanager.json.
{
  config,
  lib,
  pkgs,
  barnabeeLib,
  ...
}:
let
  cfg = config.barnabee.alerts;
in
{
  options.barnabee.alerts = {
    channels = lib.mkOption {
      type = lib.types.attrsOf (lib.types.either lib.types.bool lib.types.str);
      internal = true;
      description = "Values of the receivers' placeholders; a receiver that lacks one is left out.";
      example = {
        webhook_file = "/run/credentials/alertmanager.service/home_assistant_webhook";
      };
    };
    files = lib.mkOption {
      type = lib.types.package;
      internal = true;
      readOnly = true;
      default =
        pkgs.runCommand "barnabee-alerting"
          {
            nativeBuildInputs = [ config.services.prometheus.alertmanager.package ];
            channels = builtins.toJSON cfg.channels;
            passAsFile = [ "channels" ];
          }
          ''
            mkdir $out
            ${barnabeeLib.python} -m barnabee.up.monitoring_config \
              ${barnabeeLib.environment.BARNABEE_SYSTEM} ${../../monitoring/alertmanager.json} "$channelsPath" $out
            amtool check-config $out/alertmanager.json
          '';
      description = "`limits.json` and `alertmanager.json`.";
      example = lib.literalExpression "pkgs.emptyDirectory";
    };
  };
}
