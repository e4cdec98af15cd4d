"""From the end of the model's first sentence to its text at the speech synthesis.

A scripted server writes two sentences with a pause between them; the api is a process of its own.
In the same run the whole answer is fetched without streaming.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from barnabee.clients.api import ApiClient
from barnabee.testing import engines
from barnabee.testing.llm import FakeLlmServer, ScriptedAnswer
from support.api import TOKEN, ApiProcess
from support.asgi_server import serve_app
from support.benchmark import choose_size, is_at_most
from support.redis import RedisServer

LIMIT_MS = 50
TOKENS_PER_S = 30
COUNT = choose_size(20, 2)
WORDS = (" of the long story goes on here",) * 4
CHUNKS = ("The", " first part.", *WORDS, " until its end.")


async def test_first_sentence_reaches_the_synthesis_at_once(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    server = FakeLlmServer(answer=ScriptedAnswer(CHUNKS, gap_s=1 / TOKENS_PER_S))
    async with serve_app(server.make_app()) as url, serve_app(engines.make_gpu_app()) as gpu_url:
        process = ApiProcess(
            tmp_path / "api",
            redis_server.url,
            tables={"limits": {"commands_per_minute": 100_000}},
            environment={
                "GPU_SERVICE_URL": gpu_url,
                "LLM_PROVIDER": "openai",
                "LLM_URL": f"{url}/v1",
                "LLM_MODEL": server.model,
            },
        )
        process.credentials.mkdir(parents=True)
        (process.credentials / "llm_api_key").write_text(server.key, encoding="utf-8")
        process.start()
        await process.wait_until_unhealthy()
        client = ApiClient(process.url, TOKEN, timeout_s=120)
        await ask(client, server, 0)  # imports the SDK
        streamed, whole = zip(
            *[await ask(client, server, number) for number in range(COUNT)], strict=True
        )
        await client.aclose()
        process.kill()
    delay_ms, answer_ms = statistics.median(streamed), statistics.median(whole)
    print(
        f"\nfirst sentence at the synthesis {delay_ms:.1f} ms after its end"
        f" (worst {max(streamed):.1f}), whole answer {answer_ms:.0f} ms after it"
    )
    assert delay_ms < answer_ms
    assert is_at_most(delay_ms, LIMIT_MS)


async def ask(client: ApiClient, server: FakeLlmServer, number: int) -> tuple[float, float]:
    """Return the times in ms from the end of the first sentence, streamed and as a whole."""
    spoken_s: list[float] = []

    async def speak(_sentence: str) -> None:
        spoken_s.append(time.monotonic())

    text = f"Please tell me story {number} about zebras"
    answer = await client.command(text, f"s{number}", on_sentence=speak)
    assert answer.reply.startswith("The first part.")
    streamed_ms = (spoken_s[0] - server.written_s[1]) * 1000
    await client.command(text, f"w{number}")
    return streamed_ms, (time.monotonic() - server.written_s[1]) * 1000
