"""The report: one HTML file that opens by a double click, without a network, and prints."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from markupsafe import Markup

from alframe.errors import InvalidValue
from alframe.labelling import LabellingLedger
from alframe.ports import Artifacts, Ledger, Pool
from alframe.report import asking, costs, curves, fitting, plates, raters, selection
from alframe.report.charts import swatch
from alframe.report.figure import Figure, Key, Table, written
from alframe.report.people import people
from alframe.report.reading import Arm, read_arm
from alframe.report.svg import compact
from alframe.types import Split

__all__ = ["render"]

PACKAGES = ("alframe", "torch", "monai", "ray", "zarr", "sqlalchemy", "numpy", "scipy", "scikit-image")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A number at the head of a campaign."""

    name: str
    value: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """All that the page says of one campaign."""

    arm: Arm
    anchor: str
    key: Key
    summary: str
    warning: str
    tiles: list[Tile]
    allowances: list[costs.Allowance]
    calibration: list[Figure]
    reliability: list[tuple[int, list[Figure]]]
    decomposition: Figure | None
    gaps: list[Figure]
    agreement: list[Figure]
    plates: list[tuple[int, Figure]]
    raters: list[Table]
    scores: Figure | None
    galleries: list[selection.Gallery]
    training: Figure | None
    timing: Figure | None
    tables: list[Table]


def render(
    ledger: Ledger,
    artifacts: Artifacts,
    pool: Pool,
    campaigns: Sequence[str],
    path: Path | str,
    *,
    labelling: LabellingLedger | None = None,
) -> Path:
    """Write the report of one campaign, or of several drawn together, to `path` and return it.

    With `labelling`, the people who labelled are named, with their time and agreement. The file appears complete or not at
    all (temporary file, then rename). Campaigns may be running, half finished or without any model yet: what does not
    exist is left out.

    Raises:
        InvalidValue: when `campaigns` is empty.
        NotFound: when one of them does not exist.
        ArtifactMissing: when the store lost bytes that the ledger names.
        ArtifactDamaged: when stored bytes do not match their hash.
    """
    if not campaigns:
        raise InvalidValue("a report needs at least one campaign, got none; name one of `alframe status`")
    arms = [read_arm(ledger, pool, name) for name in campaigns]
    chapters = [_chapter(arm, position, ledger, artifacts, pool) for position, arm in enumerate(arms)]
    if labelling is not None:
        for chapter in chapters:
            chapter.tables.extend(people(labelling, artifacts, chapter.arm.name))
    text = _page(arms, chapters, pool)
    return _write(Path(path), text.encode())


def _write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _chapter(arm: Arm, position: int, ledger: Ledger, artifacts: Artifacts, pool: Pool) -> Chapter:
    tables = (costs.cost(arm), costs.by_class(arm), costs.raters(arm))
    asked = asking.asked(arm, artifacts, len(pool.classes))
    people = (
        raters.quality(arm),
        raters.confusion(arm, pool.classes),
        asking.by_round(asked),
        asking.latest(asked),
    )
    return Chapter(
        arm=arm,
        anchor=f"campaign-{position}",
        key=Key(name=arm.name, drawing=swatch(f"s{position % 8}", position)),
        summary=_summary(arm),
        warning=_warning(arm),
        tiles=_tiles(arm),
        allowances=costs.allowances(arm),
        calibration=curves.calibration(arm),
        reliability=curves.reliability(arm),
        decomposition=curves.decomposition(arm),
        gaps=curves.gaps(arm),
        agreement=raters.agreement(arm),
        plates=plates.plates(arm, ledger, artifacts, pool),
        raters=[table for table in people if table is not None],
        scores=selection.scores(arm),
        galleries=selection.galleries(arm, artifacts, pool),
        training=fitting.training(arm, ledger, artifacts),
        timing=costs.timing(arm),
        tables=[table for table in tables if table is not None],
    )


def _summary(arm: Arm) -> str:
    dice, share = arm.series("dice"), arm.trained_share()
    if not arm.rounds:
        return "Nothing has run yet."
    if not dice:
        return f"{len(arm.rounds)} round{'s' * (len(arm.rounds) > 1)} so far; no model has been measured on the test set yet."
    last, best = max(dice), max(dice, key=lambda index: dice[index])
    words = f"The model of round {last} reaches Dice {compact(dice[last])} on the test set"
    if last in share:
        words += f", trained on {compact(share[last])}\u00a0% of the training pixels"
    return words + (
        f"; the best was {compact(dice[best])} in round {best}." if best != last else "; no round was better."
    )


def _warning(arm: Arm) -> str:
    """A control that looks at the oracle's labels must say so."""
    chosen = arm.settings.get("strategy")
    kind = chosen.get("type") if isinstance(chosen, dict) else chosen
    if kind != "random_foreground":
        return ""
    return "This strategy looks at the oracle's labels to find foreground: a control for simulations, not a method."


def _tiles(arm: Arm) -> list[Tile]:
    tiles = []
    for name, words in (("dice", "Dice"), ("object_f1", "Object F1"), ("ece", "ECE"), ("nll", "NLL")):
        values = arm.series(name)
        if values:
            last, first = max(values), min(values)
            change = (
                f"{values[last] - values[first]:+.3f} since round {first}".replace("-", "−")
                if last != first
                else f"round {last}"
            )
            tiles.append(Tile(name=f"{words}, test", value=compact(values[last]), note=change))
    spent = arm.spent()
    if spent["pixels"]:
        note = f"{compact(spent['pixels'])} of {compact(arm.training_pixels)} pixels"
        tiles.insert(
            min(1, len(tiles)), Tile(name="Annotated", value=f"{compact(100 * spent['fraction'])}\u00a0%", note=note)
        )
    if spent["queries"]:
        rounds = sum(1 for queries in arm.queries.values() if queries)
        tiles.append(
            Tile(name="Queries", value=compact(spent["queries"]), note=f"in {rounds} round{'s' * (rounds > 1)}")
        )
    return tiles


def _page(arms: Sequence[Arm], chapters: Sequence[Chapter], pool: Pool) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("alframe.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["written"] = written
    style, script = _resource("style.css"), _resource("script.js")
    policy = (
        "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"style-src {_hash(style)}; script-src {_hash(script)}"
    )
    return environment.get_template("page.html").render(
        title=" · ".join(arm.name for arm in arms),
        chapters=chapters,
        learning=curves.learning(arms),
        comparison=costs.comparison(arms) if len(arms) > 1 else None,
        policy=Markup(policy),
        style=Markup(style),
        script=Markup(script),
        data=Markup(_embedded(arms)),
        written_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        versions=_versions(),
        pool_rows=_pool(pool),
    )


def _resource(name: str) -> str:
    return resources.files("alframe.report").joinpath("templates", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _embedded(arms: Sequence[Arm]) -> str:
    """Every number of the report as JSON for notebooks; no ``<``, so that nothing in it can end the element."""
    data: list[dict[str, Any]] = [
        {
            "campaign": arm.name,
            "status": arm.record.status,
            "reason": arm.record.reason,
            "config_hash": arm.record.config_hash,
            "pool_hash": arm.record.pool_hash,
            "metrics": [
                [index, one.scope, one.name, one.label, one.statistic, one.value, one.convention]
                for index, one in arm.metrics
            ],
            "bins": [
                [index, one.scope, one.lower, one.upper, one.count, one.confidence, one.correct]
                for index, one in arm.bins
            ],
            "seconds": [[index, phase.value, seconds] for index, phase, seconds in arm.seconds],
        }
        for arm in arms
    ]
    return json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c").replace("&", "\\u0026")


def _versions() -> list[tuple[str, str]]:
    rows = [("Python", platform.python_version()), ("system", platform.platform(aliased=True, terse=True))]
    for name in PACKAGES:
        try:
            rows.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            continue
    return rows


def _pool(pool: Pool) -> list[tuple[str, str]]:
    infos = pool.items()
    rows = [("items", " · ".join(f"{sum(info.split is split for info in infos)} {split.value}" for split in Split))]
    rows.append(("classes", ", ".join(pool.classes)))
    shapes = sorted({info.shape for info in infos})
    sizes = " × ".join(str(side) for side in shapes[0]) if len(shapes) == 1 else f"{len(shapes)} different"
    rows.append(("size", sizes if shapes else "–"))
    rows.append(("manifest", pool.manifest_hash[:16] + "…"))
    return rows
