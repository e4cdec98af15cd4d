"""Deployment of NixOS systems: gated on health, with automatic rollback.

    machine          operations on the machine, and the facts that a system states about itself
    plan             pure: switch, boot or refuse; which system to roll back to
    journal          records of switches, written before each step: /var/lib/barnabee/deploys
    steps            one step: recorded, run and timed
    switch           one switch from start to end
    rollback         return to the previous system, from any point
    switch_recovery  completion of interrupted switches, run by a timer
    gate             check at boot, before boot-complete.target
    executor         the transient unit or process that runs a switch
    nixos            `Machine` on NixOS; uses bootloader, systemd and command
    remote           from a developer's machine: build, copy, switch
    hardware         disks, interfaces, PCI devices and CPU of a machine; host_file renders them
    host_check       what must be changed before a host is installed
    install          first installation from a developer's machine
    host_secrets     secrets of a host; guests that wait for them

A switch activates a system without making it the boot default. That happens only after its health
check, so a restart before then leads back to the previous system.
"""
