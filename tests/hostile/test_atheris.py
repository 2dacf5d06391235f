"""Every target of the fuzzer reads its own valid files; and, slowly, a short guided run of all of them finds nothing."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from alframe.errors import AlframeError
from alframe.testing.fuzzing import TARGETS, Target
from alframe.testing.fuzzing.loop import caught

named = pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)


@named
def test_the_targets_read_what_they_begin_with(target: Target) -> None:
    """At least one of the valid files to the end: else a fuzzer would only ever see the first check."""
    ended = 0
    for data in target.seeds():
        assert caught(target.read, data) is None
        try:
            target.read(data)
        except AlframeError:  # some begin beyond what is allowed
            continue
        ended += 1
    assert ended


def test_a_finding_names_the_error_the_place_and_the_input() -> None:
    def broken(data: bytes) -> None:
        raise KeyError("x")

    found = caught(broken, b"abc")
    assert found is not None
    assert (found.error, found.data) == ("KeyError: 'x'", b"abc")
    assert found.where.endswith("broken")


@pytest.mark.slow
def test_a_short_guided_run_finds_nothing(repository: Path) -> None:
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("needs atheris (Linux, Python 3.11 to 3.13)")
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.fuzzing", "--together", "--seconds", "8"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-2000:]
    assert "| all together |" in run.stdout
