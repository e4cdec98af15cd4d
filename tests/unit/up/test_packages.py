from __future__ import annotations

from barnabee.up import packages

URIS = """\
'http://mirror.example/debian/pool/main/j/jemalloc/libjemalloc2_5.3.0-1_amd64.deb' a.deb 275352 MD5
'http://mirror.example/debian/pool/main/r/redis/redis-tools_7.0.15_amd64.deb' b.deb 987844 SHA256
E: some noise
"""


def test_installation_size_is_the_sum_of_its_packages() -> None:
    assert packages.parse_download_bytes(URIS) == 275352 + 987844


def test_nothing_to_download_is_zero_bytes() -> None:
    assert packages.parse_download_bytes("") == 0
