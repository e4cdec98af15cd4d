# ruff: noqa: F821 - the names are those of the NixOS test driver, of default.nix and of prelude.py
"""Script of the check monitoring."""

import shlex

TRACE = "0af7651916cd43dd8448eb211c80319c"
REPORT_S = 90  # limit on real hardware; a test machine gets twice as long
LOGCLI = f"logcli --addr=http://{ADDRESS['monitoring']}:3100 --quiet"
TEST_ALERT = "barnabee alert test --limit {} --token-file /etc/home-token"
GPU_DOWN = "The speech service is not running"
GRAFANA = f"curl -ksS https://{ADDRESS['core']}/grafana"


def logcli(query: str) -> str:
    """Return the command of a Loki query."""
    return f"{LOGCLI} query --output=raw {shlex.quote(query)}"


def list_notifications() -> list[str]:
    """Return the notifications that Home Assistant shows."""
    received = json.loads(home.succeed("curl -sf http://localhost:8123/received"))
    shown: list[str] = received["shown"]
    return shown


def wait_for_notification(text: str, timeout: int, *, present: bool = True) -> None:
    """Wait until a notification is present, or absent."""
    negation = "" if present else "! "
    home.wait_until_succeeds(
        f"{negation}curl -sf http://localhost:8123/received | grep -q '{text}'", timeout=timeout
    )


start_services()
home.wait_for_open_port(8123)
for unit in ("prometheus", "alertmanager", "loki", "grafana", "alloy"):
    wait_for(monitoring, f"{unit}.service", MARGIN_S)
monitoring.wait_for_open_port(3100, ADDRESS["monitoring"])
wait_for(core, "alloy.service", MARGIN_S)

with subtest("a log line is found by its trace id within the limit"):
    core.succeed(
        f"curl -fsS {HEADERS} -H 'traceparent: 00-{TRACE}-b7ad6b7169203331-01'"
        f" {service_url(core, 'api')}/api/system"
    )
    command = logcli(f'{{component="api"}} | trace_id="{TRACE}"')
    monitoring.wait_until_succeeds(f"{command} | grep {TRACE}", timeout=LOG_QUERY_S)

with subtest("the other two queries of the specification succeed"):
    monitoring.succeed(logcli('{component="api"} |= "error"'))
    monitoring.succeed(logcli('{component="api"} | json | latency_ms > 1000'))

with subtest("every line has three labels"):
    labels = monitoring.succeed(f"{LOGCLI} labels")
    assert set(labels.split()) == {"component", "host", "level"}, labels

with subtest("barnabee accept finds its line with LogQL"):
    core.execute("systemctl start barnabee-accept.service")  # it has no token of Home Assistant
    output = core.succeed("journalctl -u barnabee-accept.service -o cat")
    row = next(line for line in output.splitlines() if line.startswith("log aggregation"))
    assert "passed" in row, output
    assert "LogQL at" in row, output

with subtest("Prometheus scrapes every target"):
    prometheus = f"http://{ADDRESS['monitoring']}:{PORT['prometheus']}/api/v1/query"
    query = 'min(up{job!="nvidia"}) == 1 and on() up{job="barnabee-gpu"}'
    monitoring.wait_until_succeeds(
        f"curl -sf {prometheus} --data-urlencode {shlex.quote('query=' + query)} | grep -q value",
        timeout=2 * MARGIN_S,
    )

with subtest("Grafana is behind the proxy, with its dashboards"):
    monitoring.wait_for_open_port(3000, ADDRESS["monitoring"])
    assert "<title>Grafana</title>" in home.succeed(f"{GRAFANA}/login")
    dashboards = home.succeed(f"{GRAFANA}/api/search?type=dash-db -u admin:{SECRET}")
    assert len(json.loads(dashboards)) == 5, dashboards
    home.fail(f"curl -sS --max-time 3 http://{ADDRESS['monitoring']}:3000/login")

with subtest("the test alert arrives and is resolved"):
    print(monitoring.succeed(TEST_ALERT.format(120)))
    assert "This is a test" not in " ".join(list_notifications())

with subtest("a stopped gpu service is reported in time and resolved"):
    gpu.succeed("systemctl stop barnabee-gpu.service")
    wait_for_notification(GPU_DOWN, 2 * REPORT_S)
    gpu.succeed("systemctl start barnabee-gpu.service")
    wait_for_notification(GPU_DOWN, 2 * REPORT_S, present=False)

with subtest("an alert during an outage of Home Assistant arrives after it"):
    home.succeed("systemctl stop home.service")
    gpu.succeed("systemctl stop barnabee-gpu.service")
    alerts = f"http://{ADDRESS['monitoring']}:{PORT['alertmanager']}/api/v2/alerts"
    monitoring.wait_until_succeeds(
        f"curl -sf {alerts} | grep -q STTServiceDown", timeout=2 * REPORT_S
    )
    home.succeed("systemctl start home.service")
    wait_for_notification(GPU_DOWN, 180)

with subtest("the test alert fails without Home Assistant"):
    home.succeed("systemctl stop home.service")
    status, output = monitoring.execute(f"{TEST_ALERT.format(5)} 2>&1")
    assert status == 1, output
    assert "alert_lost" in output, output

with subtest("no unit has failed, and no journal has a traceback"):
    assert_sound("barnabee-accept.service")
