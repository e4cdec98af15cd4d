"""Real nginx in front of the services, configured like nixos/modules/services/proxy.nix."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from support.wait import LAST_RESORT_S, find_free_port

ROOT = Path(__file__).resolve().parents[2]
HEADERS = ROOT / "src" / "dashboard" / "headers.json"
LIMITS, FORWARDED = (ROOT / "nixos/proxy" / name for name in ("http.conf", "location.conf"))

PrefixForm = Literal["rewrite", "strip", "pass"]


@dataclass
class Nginx:
    """nginx on a free port with a new certificate; `page` is the built dashboard.

    With a `prefix`, the page is below that path: `how` is that of the proxy on NixOS ("rewrite"),
    or of another proxy that forwards everything to the api ("strip" or "pass" the prefix).
    """

    directory: Path
    api: str
    page: Path
    prefix: str = ""
    how: PrefixForm = "rewrite"
    voice: str = ""
    timeout_s: int = 10  # for headers and body
    requests_per_second: int = 20
    port: int = field(default_factory=find_free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}{self.prefix}"

    def start(self) -> Nginx:
        """Start nginx and wait until it accepts connections."""
        self.directory.mkdir(parents=True, exist_ok=True)
        certificate, key = self.directory / "cert.pem", self.directory / "key.pem"
        command = (
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 "
            "-subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 "
            f"-keyout {key} -out {certificate}"
        )
        subprocess.run(command.split(), check=True, capture_output=True)
        config = self.directory / "nginx.conf"
        config.write_text(self._config(certificate, key), encoding="utf-8")
        nginx = [find_nginx() or "nginx", "-p", str(self.directory), "-c", str(config)]
        subprocess.run([*nginx, "-t", "-e", "error.log"], check=True, capture_output=True)
        self.process = subprocess.Popen([*nginx, "-e", "error.log"], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + LAST_RESORT_S
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return self
            time.sleep(0.02)
        raise AssertionError((self.directory / "error.log").read_text(encoding="utf-8"))

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=LAST_RESORT_S)
            self.process = None

    def _config(self, certificate: Path, key: Path) -> str:
        where = self.directory
        limits = LIMITS.read_text(encoding="utf-8").replace(" 10s;", f" {self.timeout_s}s;")
        return f"""
daemon off;
{"user root;" if os.geteuid() == 0 else ""} # only root can read the test's directory
pid {where}/pid;
worker_processes 1;
events {{ worker_connections 4096; }}
http {{
  types {{
    text/html html; text/css css; text/javascript js; image/svg+xml svg; image/png png;
    application/manifest+json webmanifest; application/json json;
  }}
  access_log off;
  client_body_temp_path {where}/body; proxy_temp_path {where}/proxy;
  fastcgi_temp_path {where}/fcgi; uwsgi_temp_path {where}/uwsgi; scgi_temp_path {where}/scgi;
  gzip on; gzip_types text/css text/javascript application/json image/svg+xml; gzip_vary on;
  gzip_proxied any; gzip_min_length 600;
  map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
  {limits}
  limit_req_zone $binary_remote_addr zone=clients:1m rate={self.requests_per_second}r/s;
  server {{
    listen 127.0.0.1:{self.port} ssl;
    ssl_certificate {certificate}; ssl_certificate_key {key};
    {self._locations()}
  }}
}}
"""

    def _locations(self) -> str:
        forwarded = f"""
            include {FORWARDED};
            proxy_set_header X-Forwarded-Prefix "{self.prefix}";
        """
        if self.how != "rewrite":
            end = "/" if self.how == "strip" else ""
            return f"location {self.prefix}/ {{ proxy_pass {self.api}{end}; {forwarded} }}"
        headers = json.loads(HEADERS.read_text(encoding="utf-8"))
        added = "\n".join(f'add_header {name} "{value}" always;' for name, value in headers.items())
        rewritten = f"""
    absolute_redirect off;
    rewrite ^{self.prefix}$ {self.prefix}/ permanent;
    rewrite ^{self.prefix}(/.*)$ $1;
"""
        return f"""
    root {self.page};
    {added}
    {rewritten if self.prefix else ""}
    location ~ ^/(api/|v1/|health|login) {{ proxy_pass {self.api}; {forwarded} }}
    {f"location /voice/ {{ proxy_pass {self.voice}/; {forwarded} }}" if self.voice else ""}
    location = /headers.json {{ return 404; }}
    location /assets/ {{ expires 1y; }}
    location / {{ try_files $uri $uri/ =404; expires -1; }}
"""


def find_nginx() -> str | None:
    """Return the path of nginx, or None."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
