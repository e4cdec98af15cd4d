"""Bare sentence-transformers, as somebody would call it; runs in torch's Python.

Reads lines of JSON, {"alone": texts} or {"threads": n, "seconds": s, "lock": bool, "texts": texts},
and answers each with a line: {"times_s": […]} or {"rate": texts a second}. The times are those of
`encode` alone: no HTTP, no other process. With "single" torch computes on one core.
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


def alone(model: SentenceTransformer, texts: list[str]) -> dict[str, Any]:
    times_s = []
    for text in texts:
        begun = time.perf_counter()
        model.encode(text, show_progress_bar=False).tolist()
        times_s.append(time.perf_counter() - begun)
    return {"times_s": times_s}


def together(model: SentenceTransformer, wanted: dict[str, Any]) -> dict[str, Any]:
    """Every thread embeds one text after the other: what a pool of request threads does."""
    turn = threading.Lock() if wanted["lock"] else nullcontext()
    until_s = time.perf_counter() + wanted["seconds"]

    def client(number: int) -> int:
        done = 0
        for text in cycle(wanted["texts"][number:]):
            if time.perf_counter() >= until_s:
                return done
            with turn:
                vector = model.encode(text, show_progress_bar=False)
            vector.tolist()
            done += 1
        return done

    begun = time.perf_counter()
    with ThreadPoolExecutor(wanted["threads"]) as pool:
        done = sum(pool.map(client, range(wanted["threads"])))
    return {"rate": done / (time.perf_counter() - begun)}


def main() -> None:
    model = SentenceTransformer(sys.argv[1], device="cpu", local_files_only=True)
    alone(model, ["hello", "turn on the kitchen light"])
    print(json.dumps({"ready": True}), flush=True)
    cores = torch.get_num_threads()
    for line in sys.stdin:
        wanted = json.loads(line)
        torch.set_num_threads(1 if wanted["single"] else cores)
        found = alone(model, wanted["alone"]) if "alone" in wanted else together(model, wanted)
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
