# ruff: noqa: F821 - the names are those of the NixOS test driver, of default.nix and of prelude.py
"""Script of the check degradation."""

EXACT = "what time is it"  # a sentence of a skill: needs no embeddings
# Known by their meaning only, which the gpu host tells; the API remembers each meaning.
SIMILAR = "time check"
SIMILAR_TOO = "check time"


def read_health(service: str) -> dict[str, Any]:
    """Return the health report of a service of core, whatever its status code."""
    url = f"{service_url(core, service)}/health"
    report: dict[str, Any] = json.loads(core.succeed(f"curl -sS {url}"))
    return report


def wait_for_meaning(utterance: str) -> None:
    """Wait until the API has the embeddings of its intents, some seconds after it is healthy."""
    body = json.dumps({"utterance": utterance})
    core.wait_until_succeeds(
        f"curl -fsS {HEADERS} -d '{body}' {service_url(core, 'api')}/v1/command"
        " | grep -E '\"degraded\": ?\\[\\]'",
        timeout=MARGIN_S,
    )


start_services()
addresses = " ".join(f"--at {name}={ADDRESS['core']}" for name in ("api", "voice", "worker"))

with subtest("with the gpu host the response is complete"):
    assert send_command(core, EXACT)["degraded"] == []
    wait_for_meaning(SIMILAR)

with subtest("without the gpu host services report degraded in time and stay up"):
    crash(gpu)
    core.wait_until_succeeds(
        f"curl -sS {service_url(core, 'api')}/health | grep -F degraded",
        timeout=35,
    )
    for name in ("api", "voice"):
        assert read_health(name)["status"] == "degraded", read_health(name)
    core.succeed(f"barnabee health --ready --wait {RECOVER_S} {addresses}")
    core.fail(f"barnabee health {addresses}")

with subtest("commands are answered, and one that needs the gpu host names it"):
    found = send_command(core, EXACT)
    assert found["intent"] == "time", found
    assert found["degraded"] == [], found
    found = send_command(core, SIMILAR_TOO)
    assert found["reply"], found
    assert "gpu" in found["degraded"], found

with subtest("the turn is stored and no service restarted"):
    wait_for_turn(core, found["trace_id"])
    for name in ("api", "voice", "worker"):
        restarts = core.succeed(f"systemctl show -p NRestarts --value barnabee-{name}.service")
        assert restarts.strip() == "0", name

with subtest("when the gpu host returns all services become healthy"):
    gpu.start()
    wait_for(gpu, "barnabee-gpu.service", HEALTHY_S + MARGIN_S)
    core.succeed(f"barnabee health --wait {HEALTHY_S} {addresses} --at gpu={ADDRESS['gpu']}")
    wait_for_meaning(SIMILAR_TOO)

with subtest("no unit has failed, and no journal has a traceback"):
    assert_sound()
