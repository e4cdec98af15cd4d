from __future__ import annotations

from barnabee.up import apt

URIS = """\
'http://mirror.example/debian/pool/main/j/jemalloc/libjemalloc2_5.3.0-1_amd64.deb' a.deb 275352 MD5
'http://mirror.example/debian/pool/main/r/redis/redis-tools_7.0.15_amd64.deb' b.deb 987844 SHA256
E: some noise
"""


def test_the_size_of_an_installation_is_the_sum_of_its_packages() -> None:
    assert apt.download_bytes(URIS) == 275352 + 987844


def test_nothing_to_fetch_is_nothing() -> None:
    assert apt.download_bytes("") == 0
