# ruff: noqa: F821 - the names are those of the NixOS test driver
"""Script of the VM test log-query; LOG_QUERY_S and API_PORT come from system.toml."""

import shlex

TRACE = "0af7651916cd43dd8448eb211c80319c"
SECRET = "/var/lib/barnabee-secrets/api_token"


def address_of(machine: str) -> str:
    """Return the address of another machine, as core resolves it."""
    found = core.succeed(f"getent hosts barnabee-{machine}")
    return str(found).split()[0]


def logcli(query: str) -> str:
    """Return the command of a Loki query."""
    base = f"http://{address_of('monitoring')}:3100"
    return f"logcli --addr={base} --quiet query --output=raw {shlex.quote(query)}"


start_all()
monitoring.wait_for_unit("loki.service")
monitoring.wait_for_open_port(3100, address_of("monitoring"))
core.wait_for_unit("barnabee-api.service")
core.wait_for_unit("alloy.service")

with subtest("a line is found by its trace id within the limit"):
    core.succeed(
        f'curl -fsS -H "Authorization: Bearer $(cat {SECRET})" '
        f"-H 'traceparent: 00-{TRACE}-b7ad6b7169203331-01' "
        f"http://{address_of('core')}:{API_PORT}/api/system"
    )
    command = logcli(f'{{component="api"}} | trace_id="{TRACE}"')
    monitoring.wait_until_succeeds(f"{command} | grep {TRACE}", timeout=LOG_QUERY_S)

with subtest("the other two queries of the specification succeed"):
    monitoring.succeed(logcli('{component="api"} |= "error"'))
    monitoring.succeed(logcli('{component="api"} | json | latency_ms > 1000'))

with subtest("every line has three labels"):
    labels = monitoring.succeed(
        f"logcli --addr=http://{address_of('monitoring')}:3100 --quiet labels"
    )
    assert set(labels.split()) == {"component", "host", "level"}, labels

with subtest("barnabee accept finds its line with LogQL"):
    core.wait_for_unit("barnabee-healthy.target")
    core.execute("systemctl start barnabee-accept.service")  # fails without Home Assistant
    output = core.succeed("journalctl -u barnabee-accept.service -o cat")
    row = next(line for line in output.splitlines() if line.startswith("log aggregation"))
    assert "passed" in row, output
    assert "LogQL at" in row, output
