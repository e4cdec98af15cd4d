# Renamed options: the old names work for one release, with a warning.
{ lib, ... }:
{
  imports = [
    (lib.mkRenamedOptionModule [ "barnabee" "gpu" "card" ] [ "barnabee" "gpu" "enable" ])
    (lib.mkRenamedOptionModule
      [ "barnabee" "network" "link" ]
      [ "barnabee" "network" "interface" ]
    )
    (lib.mkRenamedOptionModule
      [ "barnabee" "standby" "address" ]
      [ "barnabee" "standby" "virtualIp" ]
    )
    (lib.mkRenamedOptionModule
      [ "barnabee" "standby" "carrier" ]
      [ "barnabee" "standby" "virtualIpHost" ]
    )
    (lib.mkRenamedOptionModule
      [ "barnabee" "standby" "lan" ]
      [ "barnabee" "standby" "lanAddresses" ]
    )
  ];
}
