"""Training in a team of gloo processes: against one process, batch normalisation in closed form, and a killed peer."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load, load_file
from torch import nn

from alframe.errors import InvalidValue, PeerLost
from alframe.learners import DeepEnsemble, Training, UNet
from alframe.learners.losses import segmentation_loss
from alframe.learners.together import Team
from alframe.learners.training import share_of
from alframe.ports import Checkpoint
from alframe.storage import FileSnapshots
from alframe.teams import ALONE, Rank, here, placed
from alframe.testing.contracts.learner import MemoryLabels, blob_pool, fit_task
from alframe.testing.teams import Death, fit_in_team
from alframe.types import UNANNOTATED, Box, LabelMap, Split

# what both sides of the comparison compute: a network with batch normalisation on a batch whose annotation is uneven
COMMON = """
import torch
from torch import nn
from alframe.learners.losses import segmentation_loss

def network():
    torch.manual_seed(1)
    layers = [nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 5, 1)]
    return nn.Sequential(*layers).double()

def batch():
    torch.manual_seed(2)
    image, classes, contours = torch.randn(4, 2, 9, 8).double(), torch.randint(0, 3, (4, 9, 8)), torch.randint(0, 2, (4, 9, 8))
    image[0] += 3
    for number, known in enumerate((72, 5, 40, 0)):
        classes[number].view(-1)[known:] = 255
        contours[number].view(-1)[known:] = 255
    return image, classes, contours

WEIGHTS = dict(dice_weight=0.7, contour_weight=1.3, tap_weight=0.0)
"""

PROGRAM = (
    COMMON
    + """
import os
import sys
from pathlib import Path
from safetensors.torch import save_file
from alframe.learners.together import Team
from alframe.teams import Rank
rank, folder = int(sys.argv[1]), Path(sys.argv[2])
torch.distributed.init_process_group("gloo", init_method=(folder / "rendezvous").as_uri(), rank=rank, world_size=2)
team = Team(Rank(index=rank, count=2), torch.device("cpu"))
module = team.prepare(network())
stepped = team.wrap(module, partly_used=False)
image, classes, contours = (tensor[slice(2 * rank, 2 * rank + 2)] for tensor in batch())
loss = segmentation_loss([stepped(image)], classes, contours, pooled=team.pooled, **WEIGHTS)
team.shared_gradient(loss).backward()
found = {name: value.grad for name, value in module.named_parameters()} | dict(module.named_buffers()) | {"loss": loss}
module.eval()
found["prediction"] = module(image)
found["totals"] = torch.tensor(team.totals([1.5, 2.0 + rank]))
found["gathered"] = team.gathered(torch.tensor([rank, 7], dtype=torch.uint8))
assert team.told(b"from 0" if rank == 0 else None) == b"from 0"
assert team.told(b"" if rank == 0 else b"unheard") == b""
assert team.told(None if rank == 0 else b"unheard") is None
save_file({name: tensor.detach().contiguous() for name, tensor in found.items()}, folder / f"{rank}.safetensors")
torch.distributed.destroy_process_group()
# gloo's threads may abort an interpreter that is being taken down, now and then (pytorch pull request 179291)
os._exit(0)
"""
)


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, torch.Tensor]]:
    """What each of two processes found."""
    folder = tmp_path_factory.mktemp("team")
    command = [sys.executable, "-W", "error", "-c", PROGRAM]
    started = [subprocess.Popen([*command, str(rank), str(folder)], stderr=subprocess.PIPE) for rank in range(2)]
    problems = [process.communicate(timeout=300)[1].decode() for process in started]
    assert [process.returncode for process in started] == [0, 0], problems
    return [load_file(folder / f"{rank}.safetensors") for rank in range(2)]


@pytest.fixture(scope="module")
def alone() -> dict[str, torch.Tensor]:
    """The same in this process, with torch's own batch normalisation."""
    scope: dict[str, object] = {}
    exec(COMMON, scope)
    module: nn.Module = scope["network"]()  # type: ignore[operator]
    image, classes, contours = scope["batch"]()  # type: ignore[operator]
    loss = segmentation_loss([module(image)], classes, contours, **scope["WEIGHTS"])  # type: ignore[arg-type]
    loss.backward()
    gradients = {name: value.grad for name, value in module.named_parameters()}
    found = gradients | dict(module.named_buffers()) | {"loss": loss}
    module.eval()
    return {name: value.detach() for name, value in (found | {"prediction": module(image)}).items()}


def test_the_gradient_of_two_processes_is_that_of_the_whole_batch(
    ranks: list[dict[str, torch.Tensor]], alone: dict[str, torch.Tensor]
) -> None:
    """Although one has 77 annotated pixels and the other 40, and a patch has none."""
    for found in ranks:
        assert found["loss"] == pytest.approx(float(alone["loss"]), rel=1e-6)
        for name in ("0.weight", "0.bias", "1.weight", "1.bias", "3.weight", "3.bias"):
            torch.testing.assert_close(found[name], alone[name], rtol=1e-5, atol=1e-7, msg=name)


def test_batch_normalisation_is_over_both_processes(
    ranks: list[dict[str, torch.Tensor]], alone: dict[str, torch.Tensor]
) -> None:
    for rank, found in enumerate(ranks):
        for name in ("1.running_mean", "1.running_var", "1.num_batches_tracked"):
            torch.testing.assert_close(found[name], alone[name], rtol=1e-12, atol=1e-14, msg=name)
        mine = alone["prediction"][2 * rank : 2 * rank + 2]
        torch.testing.assert_close(found["prediction"], mine, rtol=1e-9, atol=1e-12)


def test_words_between_processes(ranks: list[dict[str, torch.Tensor]]) -> None:
    for found in ranks:
        assert found["totals"].tolist() == [3.0, 5.0]
        assert found["gathered"].tolist() == [[0, 7], [1, 7]]


def test_batch_normalisation_without_running_statistics_or_weights_is_torchs() -> None:
    """One process is a team of which nobody else has to be asked: the sums are complete."""
    from alframe.learners import together

    x = torch.randn(3, 4, 5, 6)
    for options in ({"affine": False}, {"track_running_stats": False}, {"momentum": None}):
        base = nn.BatchNorm2d(4, **options)  # type: ignore[arg-type]
        ours = together.PooledBatchNorm(nn.BatchNorm2d(4, **options))  # type: ignore[arg-type]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(together, "_total", lambda values, of_all: values)
            torch.testing.assert_close(ours(x), base(x))
            torch.testing.assert_close(ours(x), base(x))
        assert ours.state_dict().keys() == base.state_dict().keys()
        for name, value in base.state_dict().items():
            torch.testing.assert_close(ours.state_dict()[name], value, msg=name)
        torch.testing.assert_close(
            ours.eval()(x) if base.track_running_stats else x, base.eval()(x) if base.track_running_stats else x
        )


def test_a_rank_without_its_process_group_is_refused() -> None:
    with pytest.raises(InvalidValue, match=r"rank 1 of 2, got None"):
        Team(Rank(index=1, count=2), torch.device("cpu"))


def test_a_batch_that_cannot_be_shared_is_refused_before_anything_is_read() -> None:
    with pytest.raises(InvalidValue, match="batch_size 6 cannot be shared equally by a team of 4 workers"):
        share_of(Rank(index=0, count=4), Training(batch_size=6))


def test_ranks() -> None:
    assert [list(Rank(index=n, count=3).share(6)) for n in range(3)] == [[0, 1], [2, 3], [4, 5]]
    assert here() == ALONE
    with placed(Rank(index=1, count=2)):
        assert here().index == 1
    assert here() == ALONE
    with pytest.raises(InvalidValue, match="from 0 to the size of its team less 1, got 2 of 2"):
        Rank(index=2, count=2)
    with pytest.raises(InvalidValue, match="7 cannot be shared equally by a team of 2"):
        Rank(index=0, count=2).share(7)


SURE = DeepEnsemble(
    network=UNet(features=(8, 16), dropout=0.0, norm="group"),
    training=Training(
        steps=12, batch_size=4, patch=(24, 24), validate_every=4, warmup_steps=1, dice_weight=0.5, ema=0.9
    ),
    members=1,
)
UNSURE = replace(SURE, network=UNet(features=(8, 16), dropout=0.3, dropout_from=0))


def partly() -> MemoryLabels:
    """Labels of which some items have many and some have few."""
    pool, maps = blob_pool(), {}
    for number, info in enumerate(pool.items(Split.TRAIN)):
        truth = pool.truth(info.id)
        classes = np.full(info.shape, UNANNOTATED, np.uint8)
        box = Box(start=(2, 2), stop=(6 + 4 * number, 6 + 4 * number))
        classes[box.slices] = truth.classes[box.slices]
        maps[info.id] = LabelMap(classes=classes, instances=truth.instances)
    return MemoryLabels(maps=maps)


def good(result: object) -> Checkpoint:
    assert isinstance(result, Checkpoint), result
    return result


@pytest.mark.slow
def test_a_team_of_two_trains_the_network_that_one_process_trains() -> None:
    """Without dropout the same, but for rounding, which twelve steps of Adam let grow."""
    task = fit_task(blob_pool(), partly())
    single = SURE.fit(task)
    first, second = (good(result) for result in fit_in_team(SURE, task, 2))
    assert first.weights == second.weights
    for name, value in load(single.weights).items():
        torch.testing.assert_close(load(first.weights)[name], value, rtol=2e-3, atol=2e-4, msg=name)
    for ours, theirs in zip(first.history, single.history, strict=True):
        assert ours["val_loss"] == pytest.approx(theirs["val_loss"], rel=1e-3)
        assert ours["train_loss"] == pytest.approx(theirs["train_loss"], rel=1e-3)


@pytest.mark.slow
def test_a_killed_peer_is_named_and_the_team_goes_on_from_its_snapshot(tmp_path: Path) -> None:
    """The second attempt ends with the bits of a team that nobody disturbed."""
    task = fit_task(blob_pool())
    quiet = good(fit_in_team(UNSURE, task, 2)[0])
    snapshot = FileSnapshots(tmp_path).at("run.1.0.0")
    kept = replace(task, snapshot=snapshot, snapshot_seconds=0.0)
    left, killed = fit_in_team(UNSURE, kept, 2, death=Death(rank=1, after=0.8))
    assert isinstance(left, PeerLost)
    assert "rank 0 of 2 lost another process" in str(left)
    assert isinstance(killed, PeerLost)
    half = snapshot.load()
    again = good(fit_in_team(UNSURE, kept, 2)[0])
    assert half != snapshot.load()
    assert again.weights == quiet.weights
    assert [row["val_loss"] for row in again.history] == [row["val_loss"] for row in quiet.history]
