"""Who holds which memory: what the card says in one sum, booked to the models one by one. Pure.

A library does not say whose its memory is. What a model takes while it is loaded alone is its own;
what grows afterwards belongs to whoever was used since everything was last at rest.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping


def settle(held_mib: Mapping[str, int], used: Collection[str], grown_mib: int) -> dict[str, int]:
    """Return what each model holds after `grown_mib` more (or less) is there at rest.

    Shared by those in `used` in proportion to what they hold; nobody holds less than nothing, and
    what nobody can have given back is dropped. Without users nothing changes.
    """
    names = sorted(name for name in used if name in held_mib)
    total = sum(held_mib[name] for name in names)
    settled = dict(held_mib)
    left = grown_mib
    for number, name in enumerate(names):
        last = number == len(names) - 1
        share = left if last else grown_mib * held_mib[name] // total if total else 0
        settled[name] = max(0, held_mib[name] + share)
        left -= share
    return settled
