"""What engines and the ledger must agree on about memory: running out of it, and giving it back."""

from __future__ import annotations

import ctypes
import gc
import sys
from contextlib import suppress

# What the libraries say, in lower case; none of them has an exception of its own but torch, whose
# OutOfMemoryError says the first. onnxruntime: arena and allocator; CTranslate2: cudaMalloc.
_SAID = (
    "out of memory",
    "failed to allocate memory",
    "bad allocation",
    "std::bad_alloc",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
)


def ran_out(error: BaseException) -> bool:
    """Return whether an engine's error means that there was not enough memory. Pure."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or any(phrase in said for phrase in _SAID)


def give_back() -> None:
    """Return to the driver and the system what unloaded engines left in pools.

    Python frees objects, but torch keeps its blocks and the C library its heap until told.
    """
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    with suppress(OSError, AttributeError):  # another C library than glibc
        ctypes.CDLL("libc.so.6").malloc_trim(0)
