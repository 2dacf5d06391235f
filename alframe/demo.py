"""A real campaign on generated data: region BALD against random regions, with one report for both."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from pathlib import Path

from alframe import compose, config
from alframe.errors import ConflictError
from alframe.ports import Observer

__all__ = ["ARMS", "prepare", "run"]

ARMS = {
    "demo-bald": "{type: uncertainty, measure: bald, window: 32, stride: 8}",
    "demo-random": "{type: random, window: 32, stride: 8}",
}
"""Campaign name → strategy of each arm; everything else, initial images included, is the same."""

IMAGES, SIDE, SEED = 72, 96, 7


def prepare(folder: Path) -> tuple[Path, ...]:
    """Generate the images and write one YAML an arm into `folder`; what is there already stays.

    Raises ConflictError when the folder holds other files.
    """
    from alframe.testing.data import write_histology

    known = {f"{name}.yaml" for name in ARMS} | {"data", "pool.zarr", "ledger.db", "artifacts", "report.html"}
    strangers = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    strangers = [name for name in strangers if not any(name.startswith(own) for own in known)]
    if strangers:
        raise ConflictError(f"{folder} holds other files ({strangers[0]} …); give the demo a folder of its own")
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "data" / "manifest.csv").exists():
        write_histology(folder / "data", count=IMAGES, size=SIDE, seed=SEED)
    template = resources.files("alframe").joinpath("templates/demo.yaml").read_text()
    written = []
    for name, strategy in ARMS.items():
        path = folder / f"{name}.yaml"
        lines = [f"strategy: {strategy}" if line.startswith("strategy:") else line for line in template.splitlines()]
        path.write_text("\n".join(lines).replace("name: demo-bald", f"name: {name}") + "\n")
        written.append(path)
    return tuple(written)


def run(folder: Path, observer: Observer | None = None, arm: Callable[[str], None] | None = None) -> Path:
    """Prepare, ingest, run every arm (or go on where it stopped) and write ``report.html``; returns its path.

    `arm` is told the name of each campaign before it runs.
    """
    from alframe.report import render

    loaded = [config.load(path) for path in prepare(folder)]
    compose.ingest(loaded[0])
    for one in loaded:
        if arm is not None:
            arm(one.name)
        with compose.open_campaign(one, observer) as campaign:
            campaign.run()
    first = loaded[0]
    store, pool = compose.open_artifacts(first), compose.open_pool(first)
    with compose.open_ledger(first) as ledger:
        return render(ledger, store, pool, [one.name for one in loaded], folder / "report.html")
