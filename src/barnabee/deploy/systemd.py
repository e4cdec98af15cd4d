"""systemd, as far as a switch needs it: running, stopping and asking units, here or in a guest."""

from __future__ import annotations

from barnabee.deploy.command import must, run
from barnabee.deploy.errors import StepFailed

_ASK_S = 20.0
_WHY_MAX_CHARS = 400
_WELL = "\N{BLACK CIRCLE}"  # how `barnabee health` begins a line about what is well


def _systemctl(machine: str | None) -> tuple[str, ...]:
    return ("systemctl", "--machine", machine) if machine else ("systemctl",)


def act(verb: str, *units: str, limit_s: float, machine: str | None = None) -> None:
    """Start, stop or restart units and wait for it; StepFailed."""
    must(*_systemctl(machine), verb, *units, limit_s=limit_s)


def exists(unit: str, machine: str | None = None) -> bool:
    """Return whether there is such a unit."""
    return show(unit, "LoadState", machine) == "loaded"


def show(unit: str, what: str, machine: str | None = None) -> str:
    """Return one property of a unit; StepFailed when nobody can be asked."""
    command = (*_systemctl(machine), "show", "--value", "--property", what, unit)
    return must(*command, limit_s=_ASK_S).strip()


def restarted(unit: str, limit_s: float) -> str | None:
    """Run a oneshot unit anew; return why it failed, None when it did not."""
    try:
        done = run("systemctl", "restart", unit, limit_s=limit_s)
    except StepFailed as error:
        return str(error.fields["reason"])
    return None if done.status == 0 else _why(unit) or done.last_line()


def _why(unit: str) -> str:
    """Return what the unit's last run had to say about what is not well."""
    try:
        run_id = show(unit, "InvocationID")
        told = must(
            "journalctl",
            "--no-pager",
            "--output=cat",
            "--lines=30",
            f"_SYSTEMD_INVOCATION_ID={run_id}",
            limit_s=_ASK_S,
        )
    except StepFailed:
        return ""
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(_WELL)]
    return "; ".join(lines)[:_WHY_MAX_CHARS]


def failed() -> frozenset[str]:
    """Return the units of this machine that have failed."""
    command = ("systemctl", "list-units", "--state=failed", "--plain", "--no-legend", "--no-pager")
    lines = must(*command, limit_s=_ASK_S).splitlines()
    return frozenset(line.split()[0] for line in lines if line.split())


def forgive(pattern: str, machine: str | None = None) -> None:
    """Forget failures and start limits, so that what failed in another system may start in this."""
    run(*_systemctl(machine), "reset-failed", pattern, limit_s=_ASK_S)
