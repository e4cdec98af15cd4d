"""Container images: those of the Compose file, with the proxy configuration that it needs."""

from __future__ import annotations

import functools
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from barnabee import __version__
from barnabee.core import system
from barnabee.up import compose
from barnabee.up.compose import ComposeOptions
from support.nix import ROOT, evaluate, needs_nixpkgs
from support.programs import needs_program

pytestmark = [needs_nixpkgs, pytest.mark.timeout(400)]
GRAPH = system.load_system(ROOT / "system.toml")
# Directives newer than Debian's nginx 1.22.
NEWER = re.compile(r"^\s*(http2 on|ssl_conf_command Groups .*);$", re.MULTILINE)


@functools.cache
def oci() -> Any:
    return evaluate("hosts.oci")


def test_images_are_those_of_the_compose_file() -> None:
    files = [
        compose.make_compose_file(GRAPH, ComposeOptions(__version__, has_gpu=has_gpu))
        for has_gpu in (True, False)
    ]
    images = {service["image"] for file in files for service in file["services"].values()}
    assert images == set(oci()["names"].values())


def test_image_owner_is_the_user_of_the_compose_file() -> None:
    text = (ROOT / "pkgs/images/oci.nix").read_text(encoding="utf-8")
    assert f"id = {compose.USER};" in text
    assert f'"{compose.RUNTIME.removeprefix("/")}"' in text


def test_every_image_evaluates() -> None:
    for name, drv in oci()["drvs"].items():
        assert re.fullmatch(r"/nix/store/\S+\.drv", drv), name


def test_proxy_uses_service_names_and_compose_secrets() -> None:
    text = oci()["nginx"]["compose"]
    asked = set(re.findall(r"proxy_pass http://([^/;]+)", text))
    assert asked == {f"{name}:{GRAPH.service[name].port}" for name in compose.BEHIND_THE_PROXY}
    for name in compose.TLS:
        assert f"{compose.SECRETS}/{name};" in text
    for port in (compose.HTTP, compose.HTTPS):
        assert f"listen 0.0.0.0:{port} " in text


def test_every_location_that_forwards_replaces_the_headers_of_the_client() -> None:
    limits, forwarded = (
        (ROOT / "nixos/proxy" / name).read_text(encoding="utf-8").strip()
        for name in ("http.conf", "location.conf")
    )
    for form, prefix in (("core", ""), ("compose", ""), ("behindAnother", "/barnabee")):
        text = re.sub(r"(?m)^ +", "", oci()["nginx"][form])
        assert limits in text
        replaced = f'{forwarded}\nproxy_set_header X-Forwarded-Prefix "{prefix}";'
        served = len(compose.BEHIND_THE_PROXY) + (form != "compose")  # and Grafana
        text = text.replace("burst=400", "burst=40")
        assert text.count(replaced) == text.count("proxy_pass ") == served
    assert "set_real_ip_from 192.168.1.5;" in oci()["nginx"]["behindAnother"]


@needs_program("nginx", "nginx-light")
@pytest.mark.parametrize("form", ["core", "compose", "behindAnother"])
def test_nginx_accepts_the_configuration(form: str, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    make += ["-nodes", "-subj", "/CN=barnabee", "-days", "1", "-keyout", str(key)]
    subprocess.run([*make, "-out", str(certificate)], check=True, capture_output=True)
    text = NEWER.sub("", oci()["nginx"][form])
    text = re.sub(r"ssl_certificate_key \S+;", f"ssl_certificate_key {key};", text)
    text = re.sub(r"ssl_certificate \S+;", f"ssl_certificate {certificate};", text)
    text = re.sub(r"^\s*include /nix/store/.*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"http://(api|voice):", "http://127.0.0.1:", text)  # -t looks names up
    text = text.replace("/run/nginx/nginx.pid", str(tmp_path / "nginx.pid"))
    file = tmp_path / "nginx.conf"
    file.write_text(text, encoding="utf-8")
    command = ["nginx", "-t", "-p", str(tmp_path), "-e", "stderr", "-c", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(done.stderr)
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr
