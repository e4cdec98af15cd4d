# ruff: noqa: F821 - the names are those of the NixOS test driver
"""The script of the VM test log-query; LOG_QUERY_S and API_PORT come from system.toml."""

import shlex

TRACE = "0af7651916cd43dd8448eb211c80319c"
SECRET = "/var/lib/barnabee-secrets/api_token"


def address(machine: str) -> str:
    """Return where core sees another machine."""
    found = core.succeed(f"getent hosts barnabee-{machine}")
    return str(found).split()[0]


def logcli(query: str) -> str:
    """Return the command that asks Loki."""
    base = f"http://{address('monitoring')}:3100"
    return f"logcli --addr={base} --quiet query --output=raw {shlex.quote(query)}"


start_all()
monitoring.wait_for_unit("loki.service")
monitoring.wait_for_open_port(3100, address("monitoring"))
core.wait_for_unit("barnabee-api.service")
core.wait_for_unit("alloy.service")

with subtest("a line is found by its trace id in time"):
    core.succeed(
        f'curl -fsS -H "Authorization: Bearer $(cat {SECRET})" '
        f"-H 'traceparent: 00-{TRACE}-b7ad6b7169203331-01' "
        f"http://{address('core')}:{API_PORT}/api/system"
    )
    asked = logcli(f'{{component="api"}} | trace_id="{TRACE}"')
    monitoring.wait_until_succeeds(f"{asked} | grep {TRACE}", timeout=LOG_QUERY_S)

with subtest("the other two queries of the specification are answered"):
    monitoring.succeed(logcli('{component="api"} |= "error"'))
    monitoring.succeed(logcli('{component="api"} | json | latency_ms > 1000'))

with subtest("labels are three, whoever wrote the line"):
    labels = monitoring.succeed(f"logcli --addr=http://{address('monitoring')}:3100 --quiet labels")
    assert set(labels.split()) == {"component", "host", "level"}, labels

with subtest("barnabee accept finds its line by LogQL"):
    core.wait_for_unit("barnabee-healthy.target")
    core.execute("systemctl start barnabee-accept.service")  # red for want of Home Assistant
    told = core.succeed("journalctl -u barnabee-accept.service -o cat")
    row = next(line for line in told.splitlines() if line.startswith("log aggregation"))
    assert "passed" in row, told
    assert "LogQL at" in row, told
