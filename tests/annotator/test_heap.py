"""One heap for all threads, and maps of their own for what is large, where the C library is glibc."""

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


LARGE = """
import ctypes, sys
from alframe.annotator import heap
if sys.argv[1] == "fixed":
    heap.share()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "a", "b", "c", "d", "e")]
libc.mallinfo2.restype = Info
libc.free(libc.malloc(24 * 2**20))  # the C library now believes that 24 MiB are nothing special
before = libc.mallinfo2().hblks
kept = [libc.malloc(16 * 2**20) for _ in range(4)]
print(libc.mallinfo2().hblks - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="needs glibc 2.33")
@pytest.mark.parametrize(("kind", "maps"), [("adapting", "0"), ("fixed", "4")])
def test_what_is_large_has_a_map_of_its_own_whatever_was_freed_before(kind: str, maps: str) -> None:
    run = subprocess.run([sys.executable, "-c", LARGE, kind], check=True, capture_output=True, text=True, timeout=60)
    assert run.stdout.strip() == maps
