"""Encoder weights from a file: taken exactly, or refused with the difference."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save

from alframe.errors import InvalidValue
from alframe.learners import DcanResNet, MCDropout, Training
from alframe.learners.nets.dcan_resnet import DcanResNetModule
from alframe.learners.pretrained import load_encoder
from alframe.testing.contracts.learner import blob_pool, fit_task
from alframe.testing.web import Site, served

NETWORK = DcanResNet(width=0.125, stem_stride=1)
STEP = Training(steps=1, batch_size=1, patch=(16, 16), learning_rate=1e-9, weight_decay=0)


def module(network: DcanResNet = NETWORK, *, channels: int = 2, logits: int = 4) -> DcanResNetModule:
    return DcanResNetModule(network, spatial_dims=2, in_channels=channels, out_channels=logits)


def written(folder: Path, data: bytes) -> tuple[str, str]:
    path = folder / "encoder.safetensors"
    path.write_bytes(data)
    return str(path), hashlib.sha256(data).hexdigest()


def test_the_encoder_is_taken_and_the_heads_are_not(tmp_path: Path) -> None:
    source, target = module(logits=7), module()
    heads = [p.clone() for p in target.heads.parameters()]
    load_encoder(target, *written(tmp_path, save(source.state_dict())))
    for part in ("stem", "stages"):
        pairs = zip(getattr(source, part).parameters(), getattr(target, part).parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
    assert all(torch.equal(a, b) for a, b in zip(heads, target.heads.parameters(), strict=True))


def test_weights_of_an_address_are_those_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALFRAME_CACHE", str(tmp_path))
    source = module()
    data = save(source.state_dict())
    with served(Site(data, cuts=[200_000])) as site:
        network = replace(NETWORK, weights=site.url, weights_sha256=hashlib.sha256(data).hexdigest())
        for _ in range(2):
            weights = load(MCDropout(network=network, training=STEP).fit(fit_task(blob_pool())).weights)
            torch.testing.assert_close(
                weights["stages.0.0.residual.0.weight"], source.state_dict()["stages.0.0.residual.0.weight"]
            )
    assert len(site.asked) <= 2


def test_training_starts_from_a_checkpoint_of_another_campaign(tmp_path: Path) -> None:
    first = MCDropout(network=NETWORK, training=STEP).fit(fit_task(blob_pool(), seed=1)).weights
    path, digest = written(tmp_path, first)
    network = replace(NETWORK, weights=path, weights_sha256=digest)
    second = MCDropout(network=network, training=STEP).fit(fit_task(blob_pool(), seed=2)).weights
    before, after = load(first), load(second)
    torch.testing.assert_close(after["stages.0.0.residual.0.weight"], before["stages.0.0.residual.0.weight"])
    assert not torch.allclose(after["heads.0.score.weight"], before["heads.0.score.weight"])


@pytest.mark.parametrize(
    ("source", "match"),
    [
        (module(replace(NETWORK, width=0.25)), r"stem.0.weight is \(16, 2, 3, 3\), not \(8, 2, 3, 3\)"),
        (module(channels=3), "stem.0.weight"),
        (module(replace(NETWORK, depth=34)), "unknown stages"),
        (module(replace(NETWORK, norm="batch")), "unknown stages.*running"),
    ],
)
def test_another_encoder_is_refused(tmp_path: Path, source: DcanResNetModule, match: str) -> None:
    with pytest.raises(InvalidValue, match=match):
        load_encoder(module(), *written(tmp_path, save(source.state_dict())))


def test_a_file_that_is_absent_changed_or_something_else_is_refused(tmp_path: Path) -> None:
    path, digest = written(tmp_path, save(module().state_dict()))
    with pytest.raises(InvalidValue, match="found none"):
        load_encoder(module(), str(tmp_path / "absent"), digest)
    with pytest.raises(InvalidValue, match="should have SHA-256"):
        load_encoder(module(), path, "0" * 64)
    with pytest.raises(InvalidValue, match="no safetensors file"):
        load_encoder(module(), *written(tmp_path, b"not tensors"))
