# Partitions of a physical host's disk (disko): an EFI system partition and one file system.
{ config, lib, ... }:
let
  cfg = config.barnabee.disk;
in
{
  options.barnabee.disk = lib.mkOption {
    type = lib.types.nullOr lib.types.str;
    default = null;
    description = "Disk to install to, by its stable name; the installation erases it.";
    example = "/dev/disk/by-id/nvme-eui.0123456789abcdef";
  };

  config = {
    disko.devices = lib.mkIf (cfg != null) {
      disk.main = {
        type = "disk";
        device = cfg;
        content = {
          type = "gpt";
          partitions.boot = {
            size = "1G";
            type = "EF00";
            content = {
              type = "filesystem";
              format = "vfat";
              mountpoint = "/boot";
              mountOptions = [ "umask=0077" ];
            };
          };
          partitions.root = {
            size = "100%";
            content = {
              type = "filesystem";
              format = "ext4";
              mountpoint = "/";
            };
          };
        };
      };
    };
    assertions = [
      {
        assertion = cfg != null;
        message = "barnabee.disk is not set: name the disk of ${config.barnabee.name} by its path under /dev/disk/by-id.";
      }
    ];
  };
}
