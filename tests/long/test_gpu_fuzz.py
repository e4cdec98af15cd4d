"""Random requests to the real service: each response is valid and the service stays healthy."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from barnabee.audio import wav
from support.audio import FORMATS, encode_audio, make_tone
from support.gpu import GpuProcess, find_models_dir

QUESTION = (Path(__file__).parents[1] / "audio" / "what_time_af_heart.wav").read_bytes()
QUESTION_TEXT = "what time is it"
GROWTH_MIB = 256  # buffers of libraries and allocator; leaking every recording would be more
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def gpu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GpuProcess]:
    """Yield the service; after all tests it must be healthy and have its former size."""
    service = GpuProcess(tmp_path_factory.mktemp("gpu"), find_models_dir()).start()
    try:
        service.wait_for("/health/live")
        service.wait_for("/health/ready")
        assert service.process is not None
        process = psutil.Process(service.process.pid)
        with service.client() as client:
            check_service(client)
            before = process.memory_info().rss
            yield service
            check_service(client)
        grown_mib = (process.memory_info().rss - before) / 2**20
        print(f"\ngrown by {grown_mib:.0f} MiB (limit {GROWTH_MIB} MiB)")
        assert grown_mib < GROWTH_MIB
    finally:
        service.stop()


@pytest.fixture
def http(gpu: GpuProcess) -> Iterator[httpx.Client]:
    with gpu.client() as client:
        yield client
        assert client.get("/health/ready").json()["status"] == "healthy"


def check_service(client: httpx.Client) -> None:
    """Check that the service is healthy and transcribes."""
    assert client.get("/health/ready").json()["status"] == "healthy"
    result = transcribe(client, QUESTION).json()
    assert re.sub(r"[^a-z ]", "", result["text"].lower()).strip() == QUESTION_TEXT


def transcribe(client: httpx.Client, content: bytes, **form: Any) -> httpx.Response:
    files = {"file": ("a", content)}
    data = {"model": "whisper", **form}
    return client.post("/v1/audio/transcriptions", files=files, data=data)


def fuzz(
    strategy: st.SearchStrategy[Any], count: int, send: Callable[[Any], httpx.Response]
) -> None:
    """Send `count` examples; each response is a success or an error with code and message."""
    seen = Counter[int]()

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def run(example: Any) -> None:
        response = send(example)
        seen[response.status_code] += 1
        shown = (response.status_code, response.content[:500])
        assert response.status_code in range(200, 500), shown
        if response.is_error:
            body = response.json()
            assert re.fullmatch("[a-z_]+", body["code"]), shown
            assert body["message"].endswith("."), shown
            assert len(body["message"]) < 2000, shown
            assert body["trace_id"], shown

    run()
    print(f"\n{dict(seen)}")


# ---- examples ----


@st.composite
def mutated(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """Return one of `seeds` with bytes changed, removed, doubled or inserted."""
    content = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 4))):
        position = draw(st.integers(0, max(0, len(content) - 1)))
        # headers are the most fragile, but a file with a bad header never reaches a decoder
        position = draw(st.sampled_from([position, position, position, position % 64]))
        size = draw(st.integers(0, 64))
        mutation = draw(st.sampled_from(["set", "cut", "double", "put", "end"]))
        if mutation == "set":
            content[position : position + 4] = draw(
                st.sampled_from([b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff"])
                | st.binary(min_size=1, max_size=8)
            )
        elif mutation == "cut":
            del content[position : position + size]
        elif mutation == "double":
            content[position:position] = content[position : position + size]
        elif mutation == "put":
            content[position:position] = draw(st.binary(max_size=size))
        else:
            del content[len(content) // 4 + position :]
    return bytes(content)


@st.composite
def wavs(draw: st.DrawFn) -> bytes:
    """Return a WAV with any header and a few random samples."""
    numbers = draw(
        st.tuples(
            st.sampled_from([1, 3, 6, 7, 17, 0xFFFE, 0]),
            st.sampled_from([0, 1, 2, 8, 9, 65535]),
            st.sampled_from([0, 1, 4000, 8000, 16000, 44100, 192000, 2**32 - 1]),
            st.sampled_from([0, 8, 12, 16, 24, 32, 64, 65535]),
        )
    )
    head = bytearray(wav.make_header(16_000))
    head[20:22] = numbers[0].to_bytes(2, "little")
    head[22:24] = numbers[1].to_bytes(2, "little")
    head[24:28] = numbers[2].to_bytes(4, "little")
    head[34:36] = numbers[3].to_bytes(2, "little")
    return bytes(head) + draw(st.binary(max_size=4000))


SOUNDS = [encode_audio(form, make_tone(0.4, 24_000), 24_000) for form in FORMATS]
SHORT = wav.make_header(16_000, 16_000) + make_tone(0.5, 16_000).tobytes()
TEXTS = st.text(max_size=12) | st.sampled_from(["\ud800", "\0", "a" * 5000, "...", " ", "Hi."])
ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)
NAMES = st.sampled_from(["kokoro", "tts-1", "embeddings", "whisper", "", "../x"]) | TEXTS
BODIES = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["kokoro", "embeddings"]) | NAMES | ANYTHING,
        "input": st.sampled_from(["Hi.", "Yes."]) | st.lists(TEXTS, max_size=4) | ANYTHING,
    },
    optional={
        "voice": st.sampled_from(["barnabee", "alloy", ""]) | ANYTHING,
        "response_format": st.sampled_from(["pcm", "mp3", "opus", "wav"]) | ANYTHING,
        "encoding_format": st.sampled_from(["float", "base64"]) | ANYTHING,
        "speed": st.floats(0.5, 2) | st.floats() | ANYTHING,
        "dimensions": st.just(384) | st.integers() | ANYTHING,
        "session": TEXTS | ANYTHING,
    },
)


# ---- the tests ----


def test_invalid_wavs(http: httpx.Client) -> None:
    kinds = st.binary(max_size=200) | wavs() | mutated([SHORT])
    fuzz(kinds, 160, lambda content: transcribe(http, content))


def test_damaged_files_in_other_formats(http: httpx.Client) -> None:
    fuzz(mutated(SOUNDS), 120, lambda content: transcribe(http, content))


def test_forms_with_random_fields(http: httpx.Client) -> None:
    fields = st.fixed_dictionaries(
        {},
        optional={
            "model": NAMES,
            "language": st.sampled_from(["de", "xx", ""]) | TEXTS,
            "response_format": st.sampled_from(["text", "verbose_json", "srt"]) | TEXTS,
            "timestamp_granularities[]": st.sampled_from(["word", "x"]),
            "stream": st.sampled_from(["true", "false", "perhaps"]),
            "file": TEXTS,
        },
    ).map(lambda form: {key: plain(value) for key, value in form.items()})
    quiet = wav.make_header(16_000, 3200) + bytes(3200)
    fuzz(fields, 320, lambda form: transcribe(http, quiet, **form))


def test_invalid_multipart_bodies(http: httpx.Client) -> None:
    request = http.build_request(
        "POST", "/v1/audio/transcriptions", files={"file": b"x"}, data={"model": "whisper"}
    )
    kind = request.headers["content-type"]
    whole = request.read()
    kinds = st.sampled_from(
        (
            *(kind, "multipart/form-data", "multipart/form-data; boundary=", "text/plain", ""),
            *("application/x-www-form-urlencoded", "multipart/form-data; boundary=\xff", ";"),
        )
    )
    fuzz(
        st.tuples(kinds, mutated([whole]) | st.binary(max_size=300)),
        480,
        lambda pair: http.post(
            "/v1/audio/transcriptions",
            content=pair[1],
            headers={b"content-type": pair[0].encode("latin-1")},  # type: ignore[arg-type]
        ),
    )


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/audio/speech", "/v1/turns"])
def test_json_bodies_with_random_values(http: httpx.Client, path: str) -> None:
    fuzz(
        BODIES | BODIES | ANYTHING,
        480,
        lambda body: http.post(path, content=as_json(body), headers=JSON),
    )


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/audio/speech"])
def test_invalid_json_bodies(http: httpx.Client, path: str) -> None:
    seeds = [b'{"model": "embeddings", "input": ["a"]}', b'{"model": "kokoro", "speed": 1e999}']
    deep = [b"[" * 50_000, b'{"a":' * 20_000, b'{"input": "' + b"\\u0000" * 50 + b'"}']
    fuzz(
        mutated(seeds) | st.binary(max_size=100) | st.sampled_from(deep),
        320,
        lambda body: http.post(path, content=body, headers=JSON),
    )


def test_random_paths_and_headers(http: httpx.Client) -> None:
    parts = st.sampled_from(["models", "whisper", "load", "unload", "turns", "%00", "%ff", "..%2f"])
    paths = st.lists(parts, max_size=4).map(lambda found: "/v1/" + "/".join(found))
    methods = st.sampled_from(["GET", "DELETE", "PUT", "PATCH", "OPTIONS", "HEAD"])
    headers = st.dictionaries(
        st.sampled_from(["X-Barnabee-Session", "traceparent", "Accept", "Range"]),
        # control characters never get past the HTTP parser
        st.text(st.characters(codec="latin-1", categories=("L", "N", "P", "S")), max_size=300),
    )

    def send(example: tuple[str, str, dict[str, str]]) -> httpx.Response:
        method, path, headers = example
        encoded = {name: value.strip().encode("latin-1") for name, value in headers.items()}
        response = http.request(method, path, headers=encoded)
        if method == "HEAD":  # its responses have no body
            assert response.status_code < 500
            return httpx.Response(204)
        return response

    fuzz(st.tuples(methods, paths, headers), 480, send)


JSON = {"content-type": "application/json"}


def plain(text: str) -> str:
    """Replace what a form cannot transport."""
    return text.encode("utf-8", "replace").decode()


def as_json(value: Any) -> bytes:
    """Return JSON; lone surrogates and infinities stay."""
    return json.dumps(value).encode("utf-8", "surrogatepass")


def test_noise_is_transcribed_without_an_error(http: httpx.Client) -> None:
    noise = np.random.default_rng(3).normal(0, 9000, 16_000).astype("<i2")
    assert transcribe(http, wav.make_header(16_000, 32_000) + noise.tobytes()).status_code == 200
