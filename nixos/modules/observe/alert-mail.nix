# Critical alerts by mail.
{ lib, ... }:
let
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
}
