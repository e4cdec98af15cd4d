"""Switching a machine to another system, and back by itself when that one is not well.

    facts      what a system says of itself (etc/barnabee/deploy.json in it)
    plan       pure: switch, or boot, or refuse; and where to go back to
    record     what happened, written before it happens: /var/lib/barnabee/deploys/<id>.json
    machine    what can be asked of a machine and done to it; `nixos` does it for real
    engine     one switch from its beginning to its end
    way_back   the way back, from wherever it broke off
    watch      takes back what nobody finishes
    gate       the same question at boot, before boot-complete.target
    unit       the transient units that outlive a connection
    remote     the developer's side: build, copy, have it switched

A switch activates a system without telling the boot loader of it. Only when it has been found well
does it become what the machine boots: whatever stops in between, a restart leads back.
"""
