"""What a YAML's section `ray` comes to: shares, device, environment."""

from __future__ import annotations

import subprocess
import sys

import pytest

from alframe import config, workers
from alframe.errors import ConfigurationError
from alframe.runtime.shares import Share

YAML = """\
name: tiny
learner: {type: mc_dropout}
strategy: {type: random}
batch: 1
oracle: {type: simulated}
budget: {rounds: 1}
"""


def load(text: str) -> config.Config:
    return config.loads(YAML + text)


def shares(settings: config.Config) -> tuple[Share, Share]:
    assert settings.ray is not None
    found = [workers.share(settings, settings.ray, worker) for worker in (settings.ray.fit, settings.ray.score)]
    return found[0], found[1]


@pytest.mark.parametrize(
    ("text", "here", "gpus", "device"),
    [
        ("ray: {workers: 2}", 0, 0.0, "cpu"),
        ("ray: {workers: 2}", 1, 0.5, "cuda"),
        ("ray: {workers: 3}", 1, 0.3333, "cuda"),
        ("ray: {workers: 2}", 8, 1.0, "cuda"),
        ("ray: {workers: 2}\nruntime: {device: cpu}", 8, 0.0, "cpu"),
        ("ray: {fit: {gpus: 0}, score: {gpus: 0}}", 8, 0.0, "cpu"),
        ("ray: {workers: 2, address: auto}", 8, 0.0, "cpu"),
        ("ray: {workers: 2, address: auto}\nruntime: {device: cuda}", 0, 1.0, "cuda"),
        ("ray: {address: auto, fit: {gpus: 0.25}, score: {gpus: 0.25}}", 0, 0.25, "cuda"),
    ],
)
def test_gpus_and_device_agree(text: str, here: int, gpus: float, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that was given no GPU sees none, so a campaign on GPUs gives each of its workers some."""
    monkeypatch.setattr(workers, "_gpus_here", lambda: here)
    settings = load(text)
    assert {share.gpus for share in shares(settings)} == {gpus}
    assert workers.compute(settings).device == device


def test_fit_and_score_get_what_the_yaml_says() -> None:
    settings = load(
        "runtime: {threads: 2, device: cpu}\n"
        "ray: {workers: 4, fit: {memory: 1.5, resources: {fast: 0.5}, deadline: 60}, score: {cpus: 1}}\n"
    )
    fit, score = shares(settings)
    assert fit == Share(cpus=2.0, memory=3 * 2**29, resources={"fast": 0.5}, deadline=60.0)
    assert score == Share(cpus=1.0)


def test_variables_are_forwarded_by_name_and_missing_ones_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A forwarded value is in no file and no ledger."""
    settings = load("ray: {variables: {REGION: eu}, forward: [SECRET_KEY]}")
    assert settings.ray is not None
    monkeypatch.delenv("SECRET_KEY", raising=False)
    with pytest.raises(ConfigurationError, match="SECRET_KEY in the environment"):
        workers.environment(settings.ray)
    monkeypatch.setenv("SECRET_KEY", "hush")
    assert workers.environment(settings.ray) == {"REGION": "eu", "SECRET_KEY": "hush"}
    assert "hush" not in config.to_yaml(settings)


def test_a_section_ray_is_read_where_ray_is_not_installed() -> None:
    program = f"import sys; sys.modules['ray'] = None; from alframe import config; config.loads({YAML + 'ray: {}'!r})"
    subprocess.run([sys.executable, "-c", program], check=True)
