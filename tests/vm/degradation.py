# ruff: noqa: F821 - the names are those of the NixOS test driver and of degradation.nix
"""Script of the VM test degradation; limits come from system.toml."""

import json

HEADERS = f"-H 'Authorization: Bearer {TOKEN}' -H 'Content-Type: application/json'"


def api_address() -> str:
    """Return the address that core's services listen on."""
    output = core.succeed(f"ss -Hltn sport = :{API_PORT}")
    return output.split()[3].rsplit(":", 1)[0]


def send_command(utterance: str) -> dict:
    """Send a command to the API and return the response."""
    body = json.dumps({"utterance": utterance})
    url = f"http://{api_address()}:{API_PORT}/v1/command"
    return json.loads(core.succeed(f"curl -fsS {HEADERS} -d '{body}' {url}"))


def read_health(port: int) -> dict:
    """Return the health report of a service of core, whatever its status code."""
    return json.loads(core.succeed(f"curl -sS http://{api_address()}:{port}/health"))


start_all()
backup.wait_for_unit("s3.service")
gpu.wait_for_unit("barnabee-gpu.service")
core.wait_for_unit("barnabee-healthy.target", timeout=HEALTHY_S + 60)
here = api_address()
addresses = f"--at api={here} --at voice={here} --at worker={here}"

with subtest("with the gpu host the response is complete"):
    assert "gpu" not in send_command("time check")["degraded"]

with subtest("without the gpu host services report degraded in time and stay up"):
    gpu.crash()
    core.wait_until_succeeds(
        f"curl -sS http://{here}:{API_PORT}/health | grep -F degraded", timeout=DETECT_S + 30
    )
    for port in (API_PORT, VOICE_PORT):
        assert read_health(port)["status"] == "degraded", read_health(port)
    core.succeed(f"barnabee health --ready --wait {RECOVER_S} {addresses}")
    core.fail(f"barnabee health {addresses}")

with subtest("commands are answered and name the missing service"):
    found = send_command("time check")
    assert found["reply"], found
    assert "gpu" in found["degraded"], found

with subtest("the turn is stored and no service restarted"):
    url = f"http://{here}:{API_PORT}/v1/turns/{found['trace_id']}"
    core.wait_until_succeeds(f"curl -fsS {HEADERS} {url}", timeout=30)
    for service in ("api", "voice", "worker"):
        restarts = core.succeed(f"systemctl show -p NRestarts --value barnabee-{service}.service")
        assert restarts.strip() == "0", service

with subtest("when the gpu host returns all services become healthy"):
    gpu.start()
    gpu.wait_for_unit("barnabee-gpu.service")
    core.succeed(f"barnabee health --wait {HEALTHY_S} {addresses} --at gpu=gpu")
    assert "gpu" not in send_command("time check")["degraded"]
