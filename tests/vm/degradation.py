# ruff: noqa: F821 - the names are those of the NixOS test driver and of degradation.nix
"""The script of the VM test degradation; the promises come from system.toml."""

import json

HEAD = f"-H 'Authorization: Bearer {TOKEN}' -H 'Content-Type: application/json'"


def address() -> str:
    """Return where core's services listen."""
    said = core.succeed(f"ss -Hltn sport = :{API_PORT}")
    return said.split()[3].rsplit(":", 1)[0]


def answer(utterance: str) -> dict:
    """Ask the api; return its answer."""
    body = json.dumps({"utterance": utterance})
    url = f"http://{address()}:{API_PORT}/v1/command"
    return json.loads(core.succeed(f"curl -fsS {HEAD} -d '{body}' {url}"))


def state(port: int) -> dict:
    """Return what a service of core says of itself, also when that is nothing good."""
    return json.loads(core.succeed(f"curl -sS http://{address()}:{port}/health"))


start_all()
backup.wait_for_unit("s3.service")
gpu.wait_for_unit("barnabee-gpu.service")
core.wait_for_unit("barnabee-healthy.target", timeout=HEALTHY_S + 60)
here = address()
at = f"--at api={here} --at voice={here} --at worker={here}"

with subtest("with the card's machine there is an answer and nothing is amiss"):
    assert "gpu" not in answer("what time is it")["degraded"]

with subtest("without it the services say so in time, and stay up"):
    gpu.crash()
    core.wait_until_succeeds(
        f"curl -sS http://{here}:{API_PORT}/health | grep -F degraded", timeout=DETECT_S + 30
    )
    for port in (API_PORT, VOICE_PORT):
        assert state(port)["status"] == "degraded", state(port)
    core.succeed(f"barnabee health --ready --wait {RECOVER_S} {at}")
    core.fail(f"barnabee health {at}")

with subtest("answers go on, and name what is missing"):
    found = answer("what time is it")
    assert found["reply"], found
    assert "gpu" in found["degraded"], found

with subtest("nothing of it was lost, and nobody was restarted for it"):
    url = f"http://{here}:{API_PORT}/v1/turns/{found['trace_id']}"
    core.wait_until_succeeds(f"curl -fsS {HEAD} {url}", timeout=30)
    for service in ("api", "voice", "worker"):
        shown = core.succeed(f"systemctl show -p NRestarts --value barnabee-{service}.service")
        assert shown.strip() == "0", service

with subtest("when it is back everything is well by itself"):
    gpu.start()
    gpu.wait_for_unit("barnabee-gpu.service")
    core.succeed(f"barnabee health --wait {HEALTHY_S} {at} --at gpu=gpu")
    assert "gpu" not in answer("what time is it")["degraded"]
