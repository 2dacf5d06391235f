"""Every learner in a campaign from YAML, on images with three raters: killed and resumed, and on Ray, with one digest."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from alframe import compose, config, registry
from alframe.runtime import RayExecutor
from alframe.testing.data import write_histology
from alframe.testing.raters import Habits

CAMPAIGN = """\
name: several
seed: 1
workdir: {workdir}
data: {{root: {data}, manifest: manifest.csv, classes: [background, gland], instances: true}}
strategy: {{type: uncertainty, measure: {measure}, window: 24, stride: 12}}
initial: {{queries: 3}}
batch: 2
replicas: 2
oracle: {{type: simulated}}
budget: {{rounds: 1}}
runtime: {{device: cpu, threads: 1}}
{ray}learner:
  type: {name}
"""
TRAINING = "  training: {steps: 3, batch_size: 2, patch: [16, 16], validate_every: 2}\n"
PLAIN = "  network: {type: unet, features: [4, 8], dropout_from: 1}\n"
LINKNET = "  network: {type: linknet, width: 4, blocks: 1, stem_stride: 1}\n"
HEADS = "  network: {type: edue_unet, features: [4, 4, 8], heads: 2}\n"
SIZES = "  training: {steps: 3, batch_size: 2, validate_every: 2}\n  sizes: [16, 24]\n  copies: 2\n"
INNER = """\
  learner:
    type: deep_ensemble
    members: 2
    network: {type: unet, features: [4, 8]}
    training: {steps: 2, batch_size: 2, patch: [16, 16]}
"""
LEARNERS = {
    "mc_dropout": ("bald", TRAINING + PLAIN + "  passes: 2\n  annotation: random\n"),
    "deep_ensemble": ("epistemic", TRAINING + PLAIN + "  members: 2\n"),
    "dlema": ("bald", TRAINING + LINKNET + "  members: 2\n  clean_batch: 2\n  burn_in: 1\n  fusion: pixel\n"),
    "edue": ("epistemic_discounted", TRAINING + HEADS),
    "stochastic_ensemble": ("epistemic", SIZES + PLAIN),
    "probabilistic_unet": (
        "epistemic",
        TRAINING + "  network: {features: [4, 8], latent: 2}\n  draws: 2\n  latents: 2\n",
    ),
    "heteroscedastic": ("aleatoric", TRAINING + "  network: {features: [4, 8]}\n"),
    "tta": ("bald", INNER + "  flip_axes: [-1]\n"),
}
PROGRAM = """
import os, sys
from alframe import compose, config, failpoints
from alframe.learners import dlema_prediction, edue_torch, nested, stochastic_prediction, training

for path in sys.argv[1:]:
    if os.fork() == 0:  # what is heavy was imported once
        with failpoints.installed(failpoints.kill_at("campaign.scored.before", 2)):
            compose.open_campaign(config.load(path)).run()
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.wait()[1]))
"""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generated histology with three raters."""
    folder = tmp_path_factory.mktemp("images")
    raters = {"anna": Habits(), "ben": Habits(shift=1.0), "cleo": Habits(shift=-1.0)}
    write_histology(folder, count=24, size=48, seed=3, raters=raters)
    return folder


def configured(name: str, images: Path, folder: Path, ray: str = "") -> Path:
    """The YAML of a campaign with a learner, ingested."""
    measure, fields = LEARNERS[name]
    folder.mkdir()
    path = folder / f"{name}.yaml"
    path.write_text(CAMPAIGN.format(workdir=folder / "work", data=images, measure=measure, name=name, ray=ray) + fields)
    compose.ingest(config.load(path))
    return path


def finished(path: Path) -> str:
    """Run, or resume, to the end; the digest."""
    with compose.open_campaign(config.load(path)) as campaign:
        assert campaign.run().status == "done"
        return campaign.digest()


def test_every_learner_of_alframe_is_here() -> None:
    own = {plugin.name for plugin in registry.available("alframe.learners") if plugin.distribution == "alframe"}
    assert set(LEARNERS) == own


@pytest.fixture(scope="module", params=LEARNERS)
def undisturbed(
    request: pytest.FixtureRequest, images: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, str]:
    """A learner's name, and the digest of its campaign, run inline in this process."""
    return request.param, finished(configured(request.param, images, tmp_path_factory.mktemp("quiet") / "a"))


@pytest.fixture(scope="module")
def killed(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Of every learner a campaign whose process was killed with its second round's scores done but not recorded."""
    folder = tmp_path_factory.mktemp("killed")
    paths = {name: configured(name, images, folder / name) for name in LEARNERS}
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, *paths.values()],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.stdout.split() == [str(-signal.SIGKILL)] * len(paths), ran.stderr
    return paths


def test_a_killed_campaign_resumes_to_the_same_digest(undisturbed: tuple[str, str], killed: Mapping[str, Path]) -> None:
    name, digest = undisturbed
    assert finished(killed[name]) == digest


class Lent(RayExecutor):
    """Two workers for all campaigns, which import what is heavy once."""

    def close(self) -> None:
        """Stay; :meth:`end` closes."""

    def end(self) -> None:
        super().close()


@pytest.fixture(scope="module")
def crew(ray_cluster: None) -> Iterator[Lent]:
    """Two workers on Ray."""
    lent = Lent(2, threads=1)
    yield lent
    lent.end()


@pytest.mark.ray
def test_two_workers_on_ray_give_the_same_digest(
    undisturbed: tuple[str, str], images: Path, tmp_path: Path, crew: Lent, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, digest = undisturbed
    monkeypatch.setattr(compose, "open_executor", lambda config: crew)
    assert finished(configured(name, images, tmp_path / "ray", "ray: {workers: 2}\n")) == digest
