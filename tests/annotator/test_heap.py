"""One heap for all threads, where the C library is glibc."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, sys, threading, zlib
from alframe.annotator import heap
if sys.argv[1] == "shared":
    heap.share()
begin = threading.Barrier(4)
def work():
    begin.wait()
    for _ in range(20):
        zlib.compress(bytes(100_000))
    begin.wait()
threads = [threading.Thread(target=work) for _ in range(4)]
[one.start() for one in threads]
[one.join() for one in threads]
heap.give_back()
libc = ctypes.CDLL(None)
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="needs glibc")
def test_all_threads_use_one_heap() -> None:
    heaps = {}
    for kind in ("own", "shared"):
        run = subprocess.run(
            [sys.executable, "-c", PROGRAM, kind], check=True, capture_output=True, text=True, timeout=60
        )
        heaps[kind] = run.stdout.count("<heap nr=")
    assert heaps["shared"] == 1
    assert heaps["own"] > 1
