"""Where torch computes: device, threads and precision of a :class:`~alframe.types.Compute`, put back afterwards."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from alframe.errors import InvalidValue
from alframe.types import Compute

__all__ = ["computing", "device_of", "mixed_precision", "reproducible"]

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def device_of(compute: Compute) -> torch.device:
    """The torch device. Raises InvalidValue for a GPU that is not there or an unknown name or precision."""
    try:
        device = torch.device(compute.device)
    except RuntimeError as problem:
        raise InvalidValue(
            f"compute.device must be a torch device such as cpu or cuda:0, got {compute.device!r}"
        ) from problem
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InvalidValue(
            f"compute.device is {compute.device!r}, but torch {torch.__version__} sees no CUDA GPU; use cpu"
        )
    if compute.precision not in PRECISIONS:
        raise InvalidValue(f"compute.precision must be one of {', '.join(PRECISIONS)}, got {compute.precision!r}")
    if compute.precision == "fp16" and device.type == "cpu":
        raise InvalidValue("compute.precision fp16 needs a GPU; use fp32 or bf16 on a CPU")
    return device


def mixed_precision(compute: Compute) -> torch.autocast:
    """A context in which matrix products and convolutions use the chosen precision."""
    device = device_of(compute)
    return torch.autocast(device.type, dtype=PRECISIONS[compute.precision], enabled=compute.precision != "fp32")


@contextmanager
def computing(compute: Compute) -> Iterator[torch.device]:
    """Use `compute.threads` threads for the block: results depend on their number, so it never comes from the machine."""
    device = device_of(compute)
    before = torch.get_num_threads()
    torch.set_num_threads(compute.threads)
    try:
        yield device
    finally:
        torch.set_num_threads(before)


@contextmanager
def reproducible(device: torch.device) -> Iterator[None]:
    """On a GPU, use for the block only kernels that add in a fixed order, where torch has them: a seed gives the same bits."""
    if device.type != "cuda":
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it (torch, "Reproducibility")
    settings: Any = torch.utils.deterministic
    filling, settings.fill_uninitialized_memory = settings.fill_uninitialized_memory, False
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not have a deterministic implementation")
            torch.use_deterministic_algorithms(True, warn_only=True)
            yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        settings.fill_uninitialized_memory = filling
