"""Process with bare sentence-transformers; runs in torch's Python. Arguments: model, device.

Reads JSON lines, {"alone": texts} or {"threads": n, "seconds": s, "lock": bool, "texts": texts},
and answers each with {"times_s": […]} or {"rate": texts per second}. The times are those of
`encode`, without HTTP. With "single" torch uses one core.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from itertools import cycle
from typing import Any

import torch
from sentence_transformers import SentenceTransformer


def embed_alone(model: SentenceTransformer, texts: list[str]) -> dict[str, Any]:
    times_s = []
    for text in texts:
        begun = time.perf_counter()
        model.encode(text, show_progress_bar=False).tolist()
        times_s.append(time.perf_counter() - begun)
    return {"times_s": times_s}


def embed_concurrently(model: SentenceTransformer, request: dict[str, Any]) -> dict[str, Any]:
    """Embed texts in concurrent threads, like the thread pool of a web framework."""
    turn = threading.Lock() if request["lock"] else nullcontext()
    until_s = time.perf_counter() + request["seconds"]

    def client(number: int) -> int:
        done = 0
        for text in cycle(request["texts"][number:]):
            if time.perf_counter() >= until_s:
                return done
            with turn:
                vector = model.encode(text, show_progress_bar=False)
            vector.tolist()
            done += 1
        return done

    begun = time.perf_counter()
    with ThreadPoolExecutor(request["threads"]) as pool:
        done = sum(pool.map(client, range(request["threads"])))
    return {"rate": done / (time.perf_counter() - begun)}


def main() -> None:
    device = sys.argv[2] if len(sys.argv) > 2 else "cpu"
    model = SentenceTransformer(sys.argv[1], device=device, local_files_only=True)
    embed_alone(model, ["hello", "turn on the kitchen light"])
    print(json.dumps({"ready": True}), flush=True)
    cores = torch.get_num_threads()
    for line in sys.stdin:
        request = json.loads(line)
        torch.set_num_threads(1 if request["single"] else cores)
        found = (
            embed_alone(model, request["alone"])
            if "alone" in request
            else embed_concurrently(model, request)
        )
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
