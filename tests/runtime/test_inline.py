"""The inline executor keeps the executor's contract, and its threads."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from alframe.errors import InvalidValue, NotFound
from alframe.ports import Executor
from alframe.runtime import InlineExecutor
from alframe.testing.contracts.executor import ExecutorContract, fail


class TestInlineExecutor(ExecutorContract):
    @classmethod
    def make(cls) -> Executor:
        return InlineExecutor()


def torch_threads(context: None, task: int) -> int:
    import torch

    return torch.get_num_threads()


@pytest.mark.parametrize("loaded", [False, True])
def test_tasks_have_the_threads_asked_for(loaded: bool) -> None:
    """Also when the task itself is what loads torch. A new process, for torch can be loaded only once."""
    program = f"""
import sys
if {loaded}:
    import torch
    torch.set_num_threads(2)
from alframe.runtime import InlineExecutor
from tests.runtime.test_inline import torch_threads
assert ("torch" in sys.modules) == {loaded}
for threads in (1, 3):
    print(dict(InlineExecutor(threads=threads).run("t", torch_threads, None, [0])))
if {loaded}:
    assert torch.get_num_threads() == 2
"""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    ran = subprocess.run([sys.executable, "-c", program], env=environment, text=True, capture_output=True, check=False)
    assert ran.stdout.strip() == "{0: 1}\n{0: 3}", ran.stderr


def test_the_environment_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    inside = InlineExecutor(threads=2).run("env", lambda name, task: os.environ[name], "OMP_NUM_THREADS", [0])
    assert dict(inside) == {0: "2"}
    with pytest.raises(NotFound):
        list(InlineExecutor(threads=2).run("env", fail, NotFound("gone"), [0, 1, 2]))
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ


def test_threads_below_one_are_refused() -> None:
    with pytest.raises(InvalidValue, match="at least 1 thread, got 0"):
        InlineExecutor(threads=0)
