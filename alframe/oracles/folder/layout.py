"""What a labelling folder holds and how it is written: every file appears whole or not at all; writing again changes nothing.

``images/NAME.png``, ``prefill/NAME.png``, ``context/NAME.png`` and ``tasks/NAME.json`` go out, ``labels/NAME.png`` or
``labels/RATER/NAME.png`` comes in. A task is complete once its JSON is there.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from alframe.errors import ConflictError, StoreUnavailable
from alframe.labelling import LabellingDesk, Task, colour, rgb
from alframe.oracles.folder.images import SUFFIX, choose, encode
from alframe.oracles.pictures import context
from alframe.ports import Pool
from alframe.types import UNANNOTATED

__all__ = ["PROBLEM", "Layout", "name_of"]

PROBLEM = ".problem.txt"
_MARKER = "campaign.json"
_README = """\
Labelling for the campaign {campaign}.

images/     what to label; files of one name in the other folders belong to it
prefill/    what the model would draw, to start from (not for every task)
context/    where a region lies in its image
tasks/      the same in JSON, for programs
labels/     save your label maps here, by the same names: labels/NAME.png, .tif or .nii.gz
            when several people label: labels/YOUR NAME/NAME.png

A label map has the size of its image and one number per pixel:

{classes}
  {open:3d}  left open: you cannot or need not say

Where there is nothing to draw, save a map of zeros. Instead of a map you may save labels/NAME.json with
{{"outcome": "unusable", "reason": "torn"}}; outcomes are ambiguous, unusable, skipped and empty_confirmed.
A file is taken {settle:g} seconds after its last change. A file that cannot be taken gets a {problem} beside it.
STATUS.txt says what is missing. Save again to correct; the latest map counts.
"""


class Layout:
    """One folder. Nothing here knows what labels mean."""

    def __init__(self, root: Path, pool: Pool, format: str) -> None:
        self.root, self._pool, self._format = root, pool, format
        self.labels = root / "labels"

    def open(self, campaign: str, *, begun: bool, classes: Sequence[str], settle: float) -> None:
        """Make the folder, or make sure that it is this campaign's.

        Raises:
            StoreUnavailable: when a campaign that has `begun` misses its folder: a share that is not mounted looks like that.
            ConflictError: when it belongs to another campaign.
        """
        marker = self.root / _MARKER
        if begun and not marker.is_file():
            raise StoreUnavailable(
                f"{marker} is missing, though campaign {campaign!r} put its tasks there. Is a share not mounted? If you removed "
                "the folder on purpose, make it again with an empty file of this name: all open tasks are then written again"
            )
        known = marker.read_text(encoding="utf-8") if marker.is_file() else ""
        owner = _owner(known)
        if owner not in ("", campaign):
            raise ConflictError(f"{self.root} is the folder of campaign {owner!r}; give {campaign!r} another one")
        for name in ("images", "prefill", "context", "tasks", "labels"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        legend = "\n".join(f"  {value:3d}  {name}" for value, name in enumerate(classes))
        readme = _README.format(campaign=campaign, classes=legend, open=UNANNOTATED, settle=settle, problem=PROBLEM)
        self._put("README.txt", readme)
        self._put("classes/itk-snap.txt", _itk_snap(classes))
        self._put("classes/slicer.ctbl", _slicer(classes))
        about = {"campaign": campaign, "classes": _classes(classes)}
        self._put(_MARKER, json.dumps(about, indent=2) + "\n")  # last: everything else is there

    def write(self, task: Task, desk: LabellingDesk) -> None:
        """Put up the files of a task, unless they are there.

        Raises:
            InvalidValue: when the pixels do not fit the format.
        """
        info, name = self._pool.info(task.item), name_of(task)
        format = choose(info, self._format)
        image, sheet = self.root / "images" / (name + SUFFIX[format]), self.root / "tasks" / f"{name}.json"
        if all(path.is_file() and path.stat().st_size for path in (image, sheet)):
            return
        matrix = info.to_world(task.box.start)
        pixels = self._pool.image(task.item, task.box)
        self._put(image, encode(pixels, format, matrix))
        shown = desk.prefill(task)
        prefill = None
        if shown is not None:
            prefill = f"prefill/{name}{SUFFIX[format]}"
            self._put(prefill, encode(shown["classes"][np.newaxis], format, matrix))
        where = context(self._pool, task.item, task.box)
        if where is not None:
            self._put(f"context/{name}.png", where)
        about = {
            "task": task.id,
            "campaign": task.campaign,
            "item": task.item,
            "axes": "ZYX"[-len(task.box.shape) :],
            "box": {"start": list(task.box.start), "stop": list(task.box.stop)},
            "shape": list(task.box.shape),
            "item_shape": list(info.shape),
            "spacing": list(info.spacing),
            "affine": matrix.tolist(),
            "classes": _classes(task.classes),
            "class_map": task.class_map,
            "not_annotated": UNANNOTATED,
            "image": f"images/{image.name}",
            "prefill": prefill,
            "prefill_sha256": task.prefill.sha256 if shown is not None and task.prefill else None,
            "context": None if where is None else f"context/{name}.png",
            "score": task.score,
            "replicas": task.replicas,
            "raters": list(task.raters),
            "round": task.batch,
            "asked": task.asked,
        }
        self._put(sheet, json.dumps(about, indent=2, ensure_ascii=False) + "\n")

    def say(self, problems: Mapping[str, str], status: str) -> None:
        """Write STATUS.txt, and a file beside each label file that was refused; remove those of files that are in order."""
        self._put("STATUS.txt", status)
        wanted = {self.root / f"{source}{PROBLEM}": text for source, text in problems.items()}
        for path in self.labels.rglob(f"*{PROBLEM}"):
            if path not in wanted and not path.is_symlink():
                with suppress(OSError):  # a rater's folder that only they may write to
                    path.unlink()
        for path, text in wanted.items():
            with suppress(OSError):
                self._put(path, text + "\n")

    def _put(self, place: str | Path, content: str | bytes) -> None:
        """Replace a file in one step; one with this content is left alone."""
        path = self.root / place
        data = content.encode() if isinstance(content, str) else content
        if path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data:
            return
        path.parent.mkdir(exist_ok=True)
        temporary = path.with_name(f".part-{secrets.token_hex(8)}")
        try:
            temporary.write_bytes(data)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def name_of(task: Task) -> str:
    """A task's name in the folder: its place in the campaign, so that files sort as they are asked, and its item."""
    readable = re.sub(r"[^A-Za-z0-9._-]+", "_", task.item).strip("._-")[:80] or "item"
    return f"{task.place + 1:05d}-{readable}"


def _owner(text: str) -> str:
    try:
        return str(json.loads(text)["campaign"]) if text.strip() else ""
    except (ValueError, KeyError, TypeError):
        return "?"


def _classes(names: Sequence[str]) -> list[dict[str, Any]]:
    return [{"id": value, "name": name, "colour": colour(value)} for value, name in enumerate(names)]


def _itk_snap(names: Sequence[str]) -> str:
    """A label description file: index, red, green, blue, opacity, visible, mesh visible, name."""
    lines = ["# ITK-SnAP Label Description File", "# IDX -R- -G- -B- -A-- VIS MSH LABEL"]
    for value, name in enumerate(names):
        red, green, blue = rgb(value)
        on = int(value > 0)
        lines.append(f'{value:5d} {red:5d} {green:4d} {blue:4d} {on:8d} {on:2d} {on:2d}    "{_plain(name)}"')
    lines.append(f'{UNANNOTATED:5d} {128:5d} {128:4d} {128:4d} {1:8d} {1:2d} {1:2d}    "left open"')
    return "\n".join(lines) + "\n"


def _slicer(names: Sequence[str]) -> str:
    """A colour table: index, name, red, green, blue, opacity."""
    lines = ["# Color table file"]
    for value, name in enumerate(names):
        lines.append(" ".join(map(str, (value, _plain(name).replace(" ", "_"), *rgb(value), 255 * (value > 0)))))
    lines.append(f"{UNANNOTATED} left_open 128 128 128 255")
    return "\n".join(lines) + "\n"


def _plain(name: str) -> str:
    return re.sub(r'["\s]+', " ", name).strip()
