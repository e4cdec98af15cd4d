# ruff: noqa: F821 - the names are those of the NixOS test driver, of default.nix and of prelude.py
"""Script of the check voice."""

HOST = "barnabee-core"  # the name in the certificate
CERTIFICATE = "/etc/proxy.pem"
CURL = f"curl -sS --cacert {CERTIFICATE}"

start_services()
core.wait_for_unit("nginx.service")

with subtest("the page is served with TLS, and its headers protect it"):
    answer = satellite.succeed(f"{CURL} -f -D - https://{HOST}/")
    assert "<title>" in answer, answer
    assert "content-security-policy: default-src 'none'" in answer.lower(), answer
    assert "strict-transport-security:" in answer.lower(), answer

with subtest("without TLS there is only a redirection to it"):
    status = satellite.succeed(
        f"curl -s -o /dev/null -w '%{{http_code}} %{{redirect_url}}' http://{HOST}/"
    )
    assert status == f"301 https://{HOST}/", status

with subtest("the API is reached through the proxy, with a token only"):
    satellite.succeed(f"{CURL} -f {HEADERS} https://{HOST}/api/system")
    refused = satellite.succeed(
        f"{CURL} -o /dev/null -w '%{{http_code}}' https://{HOST}/api/system"
    )
    assert refused == "401", refused

with subtest("the services themselves cannot be reached from the home network"):
    satellite.fail(f"curl -sS --max-time 3 {service_url(core, 'voice')}/health/live")

with subtest("a spoken question is understood and answered aloud"):
    url = f"wss://{HOST}/voice/v1/talk?room=kitchen"
    ask = f"ask-aloud '{url}' {SECRET} {CERTIFICATE}"
    result = json.loads(satellite.wait_until_succeeds(ask, timeout=2 * MARGIN_S))
    print(result)
    messages = result["messages"]
    assert "error" not in messages, messages
    assert messages["transcript"]["text"] == "What time is it?", messages
    assert messages["reply"]["intent"] == "time", messages
    assert messages["reply"]["degraded"] == [], messages
    assert result["sound_s"] > 0.2, result
    wait_for_turn(core, messages["reply"]["trace_id"])

with subtest("the deep probe of a deployment succeeds"):
    core.succeed("systemctl start barnabee-probe.service")

with subtest("no unit has failed, and no journal has a traceback"):
    assert_sound()
