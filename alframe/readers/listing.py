"""Which files make up a data set: from globs, or from a CSV manifest. Finds problems; reads no pixels."""

from __future__ import annotations

import csv
import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from alframe.errors import Problem
from alframe.readers.base import Reader
from alframe.readers.formats import stem
from alframe.readers.settings import DataSettings

__all__ = ["DEFAULT_RATER", "Source", "list_csv", "list_globs", "place"]

DEFAULT_RATER = "expert"
_PLACEHOLDER = re.compile(r"\{([^{}]+)\}")
_MAX_NAME = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where one item comes from; `row` holds its line of the CSV (empty for globs)."""

    id: str
    image: Path
    masks: Mapping[str, Path]
    row: Mapping[str, str] = field(default_factory=dict)


def place(root: Path, relative: str) -> Path | str:
    """The file at `relative` below `root`, or a sentence on why it may not be used."""
    path = root / relative
    if ".." in PurePosixPath(relative).parts or not path.is_relative_to(root):
        return f"a path that leaves the data folder: {relative}"
    for part in (path, *path.parents):
        if part == root:
            break
        if part.is_symlink():
            return f"a symbolic link: {part.relative_to(root)}"
    return path if path.is_file() else f"no file {relative}"


def bad_name(name: str) -> str:
    """What is wrong with an id, or nothing."""
    if not name.strip() or len(name) > _MAX_NAME:
        return f"a name of {len(name)} characters"
    if name.startswith(".") or not name.isprintable() or any(mark in name for mark in "/\\"):
        return f"the name {name!r}"
    return ""


def rater_patterns(settings: DataSettings) -> dict[str, str]:
    """Rater → pattern of its masks."""
    if isinstance(settings.masks, str):
        return {DEFAULT_RATER: settings.masks} if settings.masks else {}
    return dict(settings.masks)


def list_globs(settings: DataSettings, root: Path, readers: Sequence[Reader]) -> tuple[list[Source], list[Problem]]:
    """Items from `images` and `masks`, matched by id."""
    problems: list[Problem] = []
    images = _matches(settings.images, root, readers, problems)
    raters = {rater: _matches(glob, root, readers, problems) for rater, glob in rater_patterns(settings).items()}
    for rater, found in raters.items():
        if images and not found:
            hint = "Correct the pattern, or remove this rater."
            glob = rater_patterns(settings)[rater]
            problems.append(Problem(where=f"masks of {rater}", expected=f"files like {glob}", found="none", hint=hint))
    sources = []
    for name, image in images.items():
        masks = {rater: found[name] for rater, found in raters.items() if name in found}
        near = {rater: difflib.get_close_matches(name, found, 1) for rater, found in raters.items() if found}
        problems += _missing(name, settings, [rater for rater in raters if raters[rater]], masks, near)
        sources.append(Source(id=name, image=image, masks=masks))
    return sources, problems


def _matches(pattern: str, root: Path, readers: Sequence[Reader], problems: list[Problem]) -> dict[str, Path]:
    """Id → file, in the order of the ids. Each id is what ``{id}`` stands for, or the file name without suffix."""
    where = f"pattern {pattern}"
    named = _PLACEHOLDER.findall(pattern)
    if PurePosixPath(pattern).is_absolute() or ".." in PurePosixPath(pattern).parts or set(named) - {"id"}:
        expected = "a glob below the data folder, with no placeholder but {id}"
        problems.append(
            Problem(where=where, expected=expected, found=pattern, hint="Other placeholders need a manifest.")
        )
        return {}
    spelled = re.escape(_PLACEHOLDER.sub("\0", PurePosixPath(pattern).name)).replace(r"\*", ".*").replace(r"\?", ".")
    capture = re.compile(spelled.replace("\0", "(.+)", 1).replace("\0", r"\1")) if named else None
    found: dict[str, Path] = {}
    for path in sorted(root.glob(_PLACEHOLDER.sub("*", pattern))):
        relative = path.relative_to(root).as_posix()
        if path.name.startswith(".") or path.is_dir():
            continue
        captured = capture.fullmatch(path.name) if capture else None
        name = captured.group(1) if captured else stem(path, readers)
        checked = place(root, relative)
        if isinstance(checked, str):
            hint = "Put the file itself there, or set `root` to where the files are."
            problems.append(Problem(where=name, expected="a file inside the data folder", found=checked, hint=hint))
        elif bad_name(name):
            problems.append(_name_problem(relative, name))
        elif name in found:
            twin = f"{found[name].relative_to(root)} and {relative}"
            hint = "Rename one, or use {id} in the pattern so that their ids differ."
            problems.append(Problem(where=name, expected="one file of this name", found=twin, hint=hint))
        else:
            found[name] = checked
    return found


def _name_problem(where: str, name: str) -> Problem:
    expected = f"an id of 1 to {_MAX_NAME} printable characters without slashes that starts with no dot"
    return Problem(where=where, expected=expected, found=bad_name(name), hint="Rename it.")


def _missing(
    name: str,
    settings: DataSettings,
    raters: Iterable[str],
    masks: Mapping[str, Path],
    near: Mapping[str, Sequence[str]],
) -> list[Problem]:
    """Problems of an item that lacks masks it must have."""
    absent = [rater for rater in raters if rater not in masks]
    enough = settings.masks_required == "none" or (settings.masks_required == "any" and bool(masks))
    if enough or not absent:
        return []
    close = [match for rater in absent for match in near.get(rater, ())]
    hint = f"Is it {close[0]}? " if close else ""
    hint += "If not every image has one, set `masks_required` to any or none."
    return [Problem(where=name, expected=f"a mask by {', '.join(absent)}", found="no such file", hint=hint)]


def list_csv(settings: DataSettings, root: Path) -> tuple[list[Source], list[Problem]]:
    """Items from the CSV `manifest`."""
    path = place(root, settings.manifest)
    if isinstance(path, str):
        return [], [Problem(where="manifest", expected="a CSV file in the data folder", found=path)]
    try:
        rows, problems = _rows(path)
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        return [], [
            Problem(where=path.name, expected="a CSV file in UTF-8", found=str(error), hint="Save it again as UTF-8.")
        ]
    if problems or not rows:
        return [], problems or [Problem(where=path.name, expected="at least one row", found="none")]
    columns = list(rows[0])
    key = next((name for name in ("id", "name") if name in columns), "")
    image, raters, problems = _columns(settings, path.name, columns)
    if not key:
        problems.append(_column_problem(path.name, "id", columns))
    if problems:
        return [], problems
    sources: dict[str, Source] = {}
    for number, row in enumerate(rows, start=2):
        name = row[key]
        if bad_name(name):
            problems.append(_name_problem(f"{path.name}:{number}", name))
        elif name in sources:
            problems.append(Problem(where=name, expected="one row of this id", found=f"another in line {number}"))
        else:
            source = _source(name, row, image, raters, settings, root, problems)
            sources[name] = source
    return [source for source in sources.values() if source.image != root], problems


def _rows(path: Path) -> tuple[list[dict[str, str]], list[Problem]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        head = file.readline()
        file.seek(0)
        table = list(csv.reader(file, delimiter=max(",;\t", key=head.count), strict=True))
    header = [cell.strip() for cell in table[0]] if table else []
    problems = []
    if len(set(header)) != len(header) or not all(header):
        problems.append(Problem(where=f"{path.name}:1", expected="columns of different names", found=str(header)))
    rows = []
    for number, cells in enumerate(table[1:], start=2):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            expected = f"{len(header)} cells as in the header"
            problems.append(Problem(where=f"{path.name}:{number}", expected=expected, found=str(len(cells))))
        rows.append(dict(zip(header, (cell.strip() for cell in cells), strict=False)))
    return rows, problems


def _column_problem(where: str, name: str, columns: Sequence[str]) -> Problem:
    close = difflib.get_close_matches(name, columns, 1)
    hint = f"Did you mean {close[0]}?" if close else "Add the column, or name the files by a pattern."
    return Problem(where=where, expected=f"a column {name}", found=f"columns {', '.join(columns)}", hint=hint)


def _columns(settings: DataSettings, where: str, columns: Sequence[str]) -> tuple[str, dict[str, str], list[Problem]]:
    """Pattern of the image, pattern per rater, and what is wrong with the columns they name."""
    image = settings.images or "{image}"
    raters = rater_patterns(settings)
    problems = []
    if not raters:
        for column in columns:
            kind, _, rater = column.partition(":")
            if kind == "mask":
                raters[rater.strip() or DEFAULT_RATER] = f"{{{column}}}"
            elif column.startswith("mask"):
                hint = f"Call it mask:{column.removeprefix('mask').strip('_- :') or 'name'}, or list it in `masks`."
                expected = "rater columns called mask or mask:<rater>"
                problems.append(Problem(where=where, expected=expected, found=column, hint=hint))
    for pattern in (image, *raters.values()):
        for column in _PLACEHOLDER.findall(pattern):
            if column not in columns and not (column == "id" and "name" in columns):
                problems.append(_column_problem(where, column, columns))
    return image, raters, problems


def _source(
    name: str,
    row: Mapping[str, str],
    image: str,
    raters: Mapping[str, str],
    settings: DataSettings,
    root: Path,
    problems: list[Problem],
) -> Source:
    """One row as a source; a missing image leaves `root` in its place, so that the caller drops it."""

    def fill(pattern: str) -> str:
        return _PLACEHOLDER.sub(lambda found: row.get(found[1], name if found[1] == "id" else ""), pattern)

    def locate(pattern: str, what: str) -> Path | None:
        cells = [row.get(column, name) for column in _PLACEHOLDER.findall(pattern)]
        if not all(cells):
            return None
        found = place(root, fill(pattern))
        if isinstance(found, Path):
            return found
        hint = "Correct the CSV, `root` or the pattern."
        problems.append(Problem(where=name, expected=f"{what} inside the data folder", found=found, hint=hint))
        return None

    before = len(problems)
    path = locate(image, "an image")
    if path is None and len(problems) == before:
        problems.append(Problem(where=name, expected="an image", found="an empty cell"))
    before = len(problems)
    masks = {rater: found for rater, pattern in raters.items() if (found := locate(pattern, f"a mask by {rater}"))}
    if len(problems) == before:
        problems += _missing(name, settings, list(raters), masks, {})
    return Source(id=name, image=path or root, masks=masks, row=row)
