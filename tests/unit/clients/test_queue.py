from __future__ import annotations

import arq.jobs

from barnabee.clients import queue
from barnabee.workers.jobs import load_job


def test_arq_reads_an_enqueued_job() -> None:
    raw = queue.encode_job("record_turn", {"reply": "done ✓"}, 1_700_000_000_000)

    job = arq.jobs.deserialize_job(raw, deserializer=load_job)

    assert job.function == "record_turn"
    assert list(job.args) == [{"reply": "done ✓"}]
    assert job.kwargs == {}
    assert job.enqueue_time.timestamp() == 1_700_000_000


def test_job_has_the_fields_of_arqs_own() -> None:
    ours = queue.encode_job("record_turn", {"a": 1}, 5)
    theirs = arq.jobs.serialize_job(
        "record_turn", ({"a": 1},), {}, None, 5, serializer=lambda job: repr(sorted(job)).encode()
    )

    assert repr(sorted(load_job(ours))).encode() == theirs
