# ruff: noqa: F821 - the names are those of the NixOS test driver
"""The script of the VM test alert-delivery."""

import json

TOLD_S = 90  # and as much again for a virtual machine on a busy one
TRY = "barnabee alert test --limit 120 --token-file /etc/home-token"


def shown() -> list[str]:
    """Return what Home Assistant shows now."""
    return json.loads(home.succeed("curl -sf http://localhost:8123/received"))["shown"]


def wait_until_shown(text: str, timeout: int, *, there: bool = True) -> None:
    """Wait until a notification is there, or is not."""
    sign = "" if there else "! "
    home.wait_until_succeeds(
        f"{sign}curl -sf http://localhost:8123/received | grep -q '{text}'", timeout=timeout
    )


start_all()
home.wait_for_open_port(8123)
monitoring.wait_for_unit("prometheus.service")
monitoring.wait_for_unit("alertmanager.service")
gpu.wait_for_unit("barnabee-gpu.service")

with subtest("a test alert arrives and goes, and every hop says how long it took"):
    print(monitoring.succeed(TRY))
    assert "This is a test" not in " ".join(shown())

with subtest("the services' metrics are asked with the token"):
    monitoring.wait_until_succeeds(
        "curl -sf http://barnabee-monitoring:9090/api/v1/query"
        " --data-urlencode 'query=up{job=\"barnabee-gpu\"} == 1' | grep -q barnabee-gpu",
        timeout=60,
    )

with subtest("speech that is gone is told in time, and told to be back"):
    gpu.succeed("systemctl stop barnabee-gpu.service")
    wait_until_shown("The assistant is deaf", 2 * TOLD_S)
    gpu.succeed("systemctl start barnabee-gpu.service")
    wait_until_shown("The assistant is deaf", 2 * TOLD_S, there=False)

with subtest("what Home Assistant missed comes when it is back"):
    home.succeed("systemctl stop home.service")
    gpu.succeed("systemctl stop barnabee-gpu.service")
    monitoring.wait_until_succeeds(
        "curl -sf http://barnabee-monitoring:9093/api/v2/alerts | grep -q STTServiceDown",
        timeout=2 * TOLD_S,
    )
    home.succeed("systemctl start home.service")
    wait_until_shown("The assistant is deaf", 180)

with subtest("a lost way is named"):
    home.succeed("systemctl stop home.service")
    status, output = monitoring.execute(f"{TRY.replace('120', '5')} 2>&1")
    assert status == 1, output
    assert "alert_lost" in output, output
