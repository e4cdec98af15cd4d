# Packages that the services run: programs, models and recorded phrases.
{ lib, pkgs, ... }:
{
  options.barnabee = {
    package = lib.mkOption {
      type = lib.types.package;
      default = pkgs.barnabee;
      defaultText = lib.literalExpression "pkgs.barnabee";
      description = "The assistant's package; units start the Python of its `env`.";
      example = lib.literalExpression "pkgs.barnabee-cuda";
    };
    models = lib.mkOption {
      type = lib.types.package;
      default = pkgs.barnabee-models-cpu;
      defaultText = lib.literalExpression "pkgs.barnabee-models-cpu";
      description = "Package with one folder for each model.";
      example = lib.literalExpression "pkgs.barnabee-models-cuda";
    };
    fillers = lib.mkOption {
      type = lib.types.nullOr lib.types.package;
      default = pkgs.barnabee-fillers;
      defaultText = lib.literalExpression "pkgs.barnabee-fillers";
      description = "Package with the recorded filler phrases of the voice service; null for none.";
      example = null;
    };
  };
}
