"""The local runner: the same graph as on NixOS, on one plain machine."""
