# A machine that waits: the same services on its processor, started when it is promoted and never before.
# Promotion is a person's for now (docs/operations.md): two writers would spoil the replica.
{ lib, pkgs, ... }:
{
  barnabee.gpu.card = lib.mkDefault false;
  barnabee.health.start = lib.mkDefault false;
  barnabee.package = lib.mkDefault pkgs.barnabee;
}
