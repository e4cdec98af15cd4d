"""systemctl and journalctl, on this machine or in a container of it (`machine`)."""

from __future__ import annotations

from barnabee.deploy.command import StepFailed, run_checked, run_command

_QUERY_S = 20.0
_REASON_MAX_CHARS = 400
_HEALTHY_MARK = "\N{BLACK CIRCLE}"  # begins the lines of `barnabee health` about healthy services


def _systemctl(machine: str | None) -> tuple[str, ...]:
    return ("systemctl", "--machine", machine) if machine else ("systemctl",)


def control_units(verb: str, *units: str, limit_s: float, machine: str | None = None) -> None:
    """Start, stop or restart units and wait until that is done; StepFailed."""
    run_checked(*_systemctl(machine), verb, *units, limit_s=limit_s)


def unit_exists(unit: str, machine: str | None = None) -> bool:
    return show_property(unit, "LoadState", machine) == "loaded"


def show_property(unit: str, name: str, machine: str | None = None) -> str:
    """Return a property of a unit; StepFailed when systemd does not answer."""
    command = (*_systemctl(machine), "show", "--value", "--property", name, unit)
    return run_checked(*command, limit_s=_QUERY_S).strip()


def run_oneshot(unit: str, limit_s: float) -> str | None:
    """Run a oneshot unit again; return the reason why it failed, or None."""
    try:
        result = run_command("systemctl", "restart", unit, limit_s=limit_s)
    except StepFailed as error:
        return str(error.fields["reason"])
    return None if result.status == 0 else _read_failure(unit) or result.last_line()


def _read_failure(unit: str) -> str:
    """Return the log lines of the unit's last run, without those about healthy services."""
    try:
        run_id = show_property(unit, "InvocationID")
        output = run_checked(
            "journalctl",
            "--no-pager",
            "--output=cat",
            "--lines=30",
            f"_SYSTEMD_INVOCATION_ID={run_id}",
            limit_s=_QUERY_S,
        )
    except StepFailed:
        return ""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(_HEALTHY_MARK)]
    return "; ".join(lines)[:_REASON_MAX_CHARS]


def list_failed_units() -> frozenset[str]:
    command = ("systemctl", "list-units", "--state=failed", "--plain", "--no-legend", "--no-pager")
    lines = run_checked(*command, limit_s=_QUERY_S).splitlines()
    return frozenset(line.split()[0] for line in lines if line.split())


def reset_failed(pattern: str, machine: str | None = None) -> None:
    """Reset failures and start limits, so that units that failed in the old system can start."""
    run_command(*_systemctl(machine), "reset-failed", pattern, limit_s=_QUERY_S)
