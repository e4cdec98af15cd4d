"""Deployment of NixOS systems: gated on health, with automatic rollback.

    machine       operations on the machine, and the facts that a system states about itself
    plan          pure: switch, boot or refuse; which system to roll back to
    journal       records of switches, written before each step: /var/lib/barnabee/deploys
    switch        one switch from start to end
    rollback      the steps, recorded and timed; return to the previous system, from any point
    gate          check at boot, before boot-complete.target; completion of interrupted switches
    executor      the transient unit or process that runs a switch
    nixos         `Machine` on NixOS; uses bootloader and command
    remote        from a developer's machine: build, copy, switch
    hardware      disks, interfaces, PCI devices and CPU of a machine, and its host file
    host_check    what must be changed before a host is installed
    install       first installation from a developer's machine
    host_secrets  secrets of a host; guests that wait for them

A switch activates a system without making it the boot default. That happens only after its health
check, so a restart before then leads back to the previous system.
"""
