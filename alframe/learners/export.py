"""A trained network for other programs: TorchScript and ONNX, with probabilities as output.

Legend: ``B`` batch, ``C`` channels of the image, ``K`` classes, ``S`` space. Input ``image`` (B, C, S; float32),
normalised as the card says (see :mod:`alframe.learners.normalise`), each side divisible by ``divisor``. Outputs:
``probability`` (B, K, S), and ``contour`` (B, S) when the network has a contour head. Dropout is off: this is the
plain prediction, not a sample.
"""

from __future__ import annotations

import importlib.util
import io
import json
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from alframe.errors import ExtraMissing
from alframe.learners.checkpoints import ModelCard, load_model
from alframe.learners.nets import divisor_of, outputs_of
from alframe.learners.networks import Network

__all__ = ["to_onnx", "to_torchscript"]

CARD_FILE = "alframe.json"


class Exported(nn.Module):
    """The network followed by its softmax."""

    def __init__(self, module: nn.Module, card: ModelCard) -> None:
        super().__init__()
        self.module, self.card = module, card

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """``(probability,)`` or ``(probability, contour)``."""
        logits = outputs_of(self.module(image), out_channels=self.card.out_channels, shape=image.shape)[0]
        classes = len(self.card.classes)
        probability = logits[:, :classes].softmax(1)
        return (probability, logits[:, classes:].softmax(1)[:, 1]) if self.card.contour else (probability,)


def _prepare(weights: bytes, network: Network | None) -> tuple[Exported, torch.Tensor, str]:
    """The network, an example input, and the card as JSON."""
    module, card = load_model(weights, network)
    divisor = divisor_of(module)
    side = divisor * max(1, -(-32 // divisor))
    example = torch.zeros(1, card.channels, *(2 * side,) * card.spatial_dims)
    return (
        Exported(module, card).eval().requires_grad_(False),
        example,
        json.dumps(asdict(card) | {"divisor": divisor}, sort_keys=True),
    )


@contextmanager
def _tracing() -> Iterator[None]:
    """Without what torch says of its tracers: that both formats are old, and that checks of a shape are not traced."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        yield


def to_torchscript(weights: bytes, network: Network | None = None) -> bytes:
    """The network of a checkpoint as TorchScript, loaded by ``torch.jit.load``; its card is the extra file ``alframe.json``.

    Raises:
        InvalidValue: when the bytes are no checkpoint, or hold a network of your own that is not given as `network`.
    """
    module, example, card = _prepare(weights, network)
    buffer = io.BytesIO()
    with _tracing():
        traced = torch.jit.trace(module, example, check_trace=False)  # type: ignore[no-untyped-call]
        torch.jit.save(traced, buffer, _extra_files={CARD_FILE: card})
    return buffer.getvalue()


def to_onnx(weights: bytes, network: Network | None = None) -> bytes:
    """The network of a checkpoint as ONNX with free batch and image sizes; its card is the metadata ``alframe``.

    Raises:
        ExtraMissing: when the package onnx is not installed.
        InvalidValue: when the bytes are no checkpoint, or hold a network of your own that is not given as `network`.
    """
    if importlib.util.find_spec("onnx") is None:
        raise ExtraMissing('ONNX export needs the package onnx; install it with pip install "alframe[onnx]"')
    import onnx

    module, example, card = _prepare(weights, network)
    names = ["probability", "contour"] if module.card.contour else ["probability"]
    space = ("z", "y", "x")[-module.card.spatial_dims :]
    axes = {"image": {0: "batch"} | {2 + axis: name for axis, name in enumerate(space)}}
    axes["probability"] = axes["image"]
    axes["contour"] = {0: "batch"} | {1 + axis: name for axis, name in enumerate(space)}
    with tempfile.TemporaryDirectory() as folder, _tracing():
        path = Path(folder) / "model.onnx"
        torch.onnx.export(
            module,
            (example,),
            path,
            input_names=["image"],
            output_names=names,
            dynamic_axes={name: axes[name] for name in ["image", *names]},
            dynamo=False,
        )
        model = onnx.load_model_from_string(path.read_bytes())
    onnx.helper.set_model_props(model, {"alframe": card})
    data: bytes = model.SerializeToString()
    return data
