# ruff: noqa: F821 - the names are those of the NixOS test driver
"""The script of the VM test alert-delivery."""

import json

REPORT_S = 90  # limit on real hardware; a virtual machine gets twice as long
TEST_COMMAND = "barnabee alert test --limit 120 --token-file /etc/home-token"


def read_notifications() -> list[str]:
    """Return the notifications that Home Assistant shows."""
    return json.loads(home.succeed("curl -sf http://localhost:8123/received"))["shown"]


def wait_for_notification(text: str, timeout: int, *, present: bool = True) -> None:
    """Wait until a notification is present, or absent."""
    negation = "" if present else "! "
    home.wait_until_succeeds(
        f"{negation}curl -sf http://localhost:8123/received | grep -q '{text}'", timeout=timeout
    )


start_all()
home.wait_for_open_port(8123)
monitoring.wait_for_unit("prometheus.service")
monitoring.wait_for_unit("alertmanager.service")
gpu.wait_for_unit("barnabee-gpu.service")

with subtest("the test alert arrives and is resolved"):
    print(monitoring.succeed(TEST_COMMAND))
    assert "This is a test" not in " ".join(read_notifications())

with subtest("Prometheus scrapes a service with the token"):
    monitoring.wait_until_succeeds(
        "curl -sf http://barnabee-monitoring:9090/api/v1/query"
        " --data-urlencode 'query=up{job=\"barnabee-gpu\"} == 1' | grep -q barnabee-gpu",
        timeout=60,
    )

with subtest("a stopped gpu service is reported in time and resolved"):
    gpu.succeed("systemctl stop barnabee-gpu.service")
    wait_for_notification("The speech service is not running", 2 * REPORT_S)
    gpu.succeed("systemctl start barnabee-gpu.service")
    wait_for_notification("The speech service is not running", 2 * REPORT_S, present=False)

with subtest("an alert during an outage of Home Assistant arrives after it"):
    home.succeed("systemctl stop home.service")
    gpu.succeed("systemctl stop barnabee-gpu.service")
    monitoring.wait_until_succeeds(
        "curl -sf http://barnabee-monitoring:9093/api/v2/alerts | grep -q STTServiceDown",
        timeout=2 * REPORT_S,
    )
    home.succeed("systemctl start home.service")
    wait_for_notification("The speech service is not running", 180)

with subtest("the test alert fails without Home Assistant"):
    home.succeed("systemctl stop home.service")
    status, output = monitoring.execute(f"{TEST_COMMAND.replace('120', '5')} 2>&1")
    assert status == 1, output
    assert "alert_lost" in output, output
