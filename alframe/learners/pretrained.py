"""Encoder weights to start from: a safetensors file, local or on the web, checked against its hash."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load

from alframe.errors import InvalidValue
from alframe.fetching import cached, is_url
from alframe.learners.nets.dcan_resnet import DcanResNetModule

__all__ = ["load_encoder"]

ENCODER = ("stem.", "stages.")
SHOWN = 3


def load_encoder(module: DcanResNetModule, path: str, sha256: str) -> None:
    """Replace the stem and the stages of `module`, in place, by those of a file; its other tensors (heads) are left aside.

    A checkpoint of alframe with the same encoder is such a file. An address (``https://…``) is fetched once and kept in the
    cache (:func:`alframe.fetching.cached`).

    Raises:
        InvalidValue: when the file is absent, has another hash, is no safetensors file, or does not hold exactly this
        encoder.
        NotFound, ArtifactDamaged, StoreUnavailable: when the file of an address cannot be had.
    """
    file = cached(path, sha256) if is_url(path) else Path(path).expanduser()
    if not file.is_file():
        raise InvalidValue(f"encoder weights: expected a safetensors file at {file}, found none")
    data = file.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != sha256.lower():
        raise InvalidValue(f"encoder weights: {file} should have SHA-256 {sha256}, it has {found}; is it another file?")
    try:
        tensors = {name: tensor for name, tensor in load(data).items() if name.startswith(ENCODER)}
    except SafetensorError as problem:
        raise InvalidValue(f"encoder weights: {file} is no safetensors file: {problem}") from problem
    state = module.state_dict()
    wanted = {name: tensor for name, tensor in state.items() if name.startswith(ENCODER)}
    complaints = _differences(wanted, tensors)
    if complaints:
        raise InvalidValue(
            f"encoder weights: {file} holds another encoder ({len(complaints)} differences: {'; '.join(complaints[:SHOWN])}). "
            "Depth, width, stem_stride, norm and the image's channels must be those it was trained with"
        )
    module.load_state_dict(state | tensors)


def _differences(wanted: dict[str, torch.Tensor], given: dict[str, torch.Tensor]) -> list[str]:
    absent = [f"no {name}" for name in wanted if name not in given]
    surplus = [f"unknown {name}" for name in given if name not in wanted]
    other = [
        f"{name} is {tuple(given[name].shape)}, not {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in given and given[name].shape != tensor.shape
    ]
    return other + absent + surplus
