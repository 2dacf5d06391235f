"""The whole data set, checked before anything is written: every problem of every item in one error."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from alframe.errors import DataError, InvalidValue, Problem
from alframe.ports import ItemArrays, PoolItem
from alframe.readers.base import Reader
from alframe.readers.formats import built_in
from alframe.readers.items import decode_item
from alframe.readers.listing import Source, list_csv, list_globs
from alframe.readers.settings import DataSettings
from alframe.readers.splits import divide
from alframe.types import ItemInfo, Split

__all__ = ["scan"]

_THREADS = 4
_SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """What decoding an item told: shape S, channels, dtype, and where its grid lies."""

    shape: tuple[int, ...]
    channels: int
    dtype: str
    spacing: tuple[float, ...]
    affine: tuple[float, ...]


def scan(
    settings: DataSettings,
    *,
    base: Path | None = None,
    readers: Sequence[Reader] = (),
    progress: Callable[[int, int], None] | None = None,
) -> tuple[PoolItem, ...]:
    """Find, decode and check every file of a data set; write nothing.

    A relative ``settings.root`` is taken from `base` (None = the current folder). `readers` come on top of the built-in
    ones. `progress` hears (items checked, items). The items come sorted by id and read their pixels again when loaded.

    Raises:
        DataError: with every problem found, each naming the item or file, what was expected and what came.
    """
    root = ((base or Path.cwd()) / settings.root).resolve()
    if not root.is_dir():
        raise DataError([Problem(where="root", expected="a folder", found=str(root), hint="Set `root` to the data.")])
    known = (*built_in(), *readers)
    sources, problems = list_csv(settings, root) if settings.manifest else list_globs(settings, root, known)
    if not sources and not problems:
        found = f"none below {root}"
        problems = [
            Problem(where="images", expected=f"files like {settings.images}", found=found, hint="Check `root`.")
        ]
    sources.sort(key=lambda source: source.id)
    groups, splits, wrong = _partition(sources, settings, {problem.where for problem in problems})
    facts, broken = _decode_all(sources, settings, known, progress)
    problems += wrong + broken + _check_together(facts)
    if problems:
        raise DataError(problems)
    return tuple(_item(source, settings, known, facts, groups, splits) for source in sources)


def _item(
    source: Source,
    settings: DataSettings,
    readers: Sequence[Reader],
    facts: Mapping[str, _Facts],
    groups: Mapping[str, str],
    splits: Mapping[str, Split],
) -> PoolItem:
    fact = facts[source.id]
    info = ItemInfo(
        id=source.id,
        shape=fact.shape,
        channels=fact.channels,
        dtype=fact.dtype,
        split=splits[source.id],
        group=groups[source.id],
        spacing=fact.spacing,
        affine=fact.affine,
        raters=tuple(source.masks),
        instances=settings.instances and bool(source.masks),
    )
    return PoolItem(info=info, load=partial(_load, source, settings, tuple(readers)))


def _load(source: Source, settings: DataSettings, readers: Sequence[Reader]) -> ItemArrays:
    return decode_item(source, settings, readers).arrays


def _decode_all(
    sources: Sequence[Source],
    settings: DataSettings,
    readers: Sequence[Reader],
    progress: Callable[[int, int], None] | None,
) -> tuple[dict[str, _Facts], list[Problem]]:
    def facts_of(source: Source) -> _Facts | list[Problem]:
        try:
            decoded = decode_item(source, settings, readers)
        except DataError as error:
            return list(error.problems)
        image = decoded.arrays.image
        return _Facts(
            shape=image.shape[1:],
            channels=image.shape[0],
            dtype=str(image.dtype),
            spacing=decoded.spacing,
            affine=decoded.affine,
        )

    facts: dict[str, _Facts] = {}
    problems: list[Problem] = []
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="scan") as threads:
        for done, (source, result) in enumerate(zip(sources, threads.map(facts_of, sources), strict=True), start=1):
            if isinstance(result, _Facts):
                facts[source.id] = result
            else:
                problems += result
            if progress is not None:
                progress(done, len(sources))
    return facts, problems


def _check_together(facts: Mapping[str, _Facts]) -> list[Problem]:
    """One network sees all items, so they agree in the number of axes and channels; the odd ones out are named."""
    problems = []
    for what, of in (("spatial axes", lambda fact: len(fact.shape)), ("channels", lambda fact: fact.channels)):
        counts = Counter(of(fact) for fact in facts.values())
        usual, number = counts.most_common(1)[0] if counts else (0, 0)
        odd = {name: fact for name, fact in facts.items() if of(fact) != usual}
        hint = "Set `axes` if the order on disk was misread; otherwise make it a data set of its own."
        for name, fact in odd.items():
            expected = f"{usual} {what} as in {number} of {len(facts)} items"
            found = f"{of(fact)} (shape {fact.shape}, {fact.channels} channels)"
            problems.append(Problem(where=name, expected=expected, found=found, hint=hint))
        facts = {name: fact for name, fact in facts.items() if name not in odd}
    return problems


def _partition(
    sources: Sequence[Source], settings: DataSettings, named: set[str]
) -> tuple[dict[str, str], dict[str, Split], list[Problem]]:
    """Group and split of each item by id. Items in `named` have a problem already and need no second one."""
    if not sources:
        return {}, {}, []
    groups, problems = _groups(sources, settings)
    if problems:
        return groups, {}, problems
    if sources[0].row and settings.splits.column in sources[0].row:
        splits, problems = _stated_splits(sources, groups, settings)
    else:
        fractions = {
            Split.TRAIN: settings.splits.train,
            Split.VALIDATION: settings.splits.val,
            Split.TEST: settings.splits.test,
        }
        splits, problems = _drawn({source.id for source in sources}, groups, fractions, settings.splits.seed)
    problems += [
        Problem(
            where=source.id,
            expected=f"a mask, because it is in the split {splits[source.id]}",
            found="none",
            hint="Give it a mask, or put it into train (fractions of val and test may be 0).",
        )
        for source in sources
        if not source.masks and source.id not in named and splits.get(source.id, Split.TRAIN) != Split.TRAIN
    ]
    return groups, splits, problems


def _groups(sources: Sequence[Source], settings: DataSettings) -> tuple[dict[str, str], list[Problem]]:
    rule = settings.groups or ("group" if "group" in sources[0].row else "")
    if not rule:
        return {source.id: source.id for source in sources}, []
    if rule in sources[0].row:
        groups = {source.id: source.row[rule] for source in sources}
    else:
        try:
            pattern = re.compile(rule)
        except re.error as error:
            return {}, [Problem(where="groups", expected="a column or a regular expression", found=f"{rule}: {error}")]
        if pattern.groups != 1:
            expected = "a column of the CSV, or a regular expression with one (group)"
            columns = f"; the columns are {', '.join(sources[0].row)}" if sources[0].row else ""
            return {}, [Problem(where="groups", expected=expected, found=f"{rule}{columns}")]
        found = {source.id: pattern.search(source.id) for source in sources}
        groups = {name: match.group(1) or "" if match else "" for name, match in found.items()}
    hint = "Items of one patient must carry one name; correct `groups` or the data."
    return groups, [
        Problem(where=name, expected=f"a group by {rule}", found="none", hint=hint)
        for name, group in groups.items()
        if not group
    ]


def _stated_splits(
    sources: Sequence[Source], groups: Mapping[str, str], settings: DataSettings
) -> tuple[dict[str, Split], list[Problem]]:
    """Splits as the CSV states them, with validation carved from train when the CSV names none. Without any training item
    the data can be measured on, and no more: a campaign says so when it is opened."""
    rules = settings.splits
    words = _SPLIT_WORDS | dict(rules.names)
    splits: dict[str, Split] = {}
    problems = []
    for source in sources:
        word = source.row[rules.column]
        meaning = words.get(word) or words.get(word.lower())
        if meaning is None:
            hint = "Map the word with `splits: {names: ...}`."
            expected = "a split among train, val, test"
            problems.append(Problem(where=source.id, expected=expected, found=repr(word), hint=hint))
        else:
            splits[source.id] = Split(meaning)
    train = {name for name, split in splits.items() if split == Split.TRAIN}
    if not rules.shared_groups:
        problems += _shared(splits, groups)
    if problems or not train or rules.validation == 0 or Split.VALIDATION in splits.values():
        return splits, problems
    carved, problems = _drawn(
        train, groups, {Split.TRAIN: 1 - rules.validation, Split.VALIDATION: rules.validation}, rules.seed
    )
    return splits | carved, problems


def _shared(splits: Mapping[str, Split], groups: Mapping[str, str]) -> list[Problem]:
    where: dict[str, dict[Split, str]] = defaultdict(dict)
    for name, split in splits.items():
        where[groups[name]].setdefault(split, name)
    hint = (
        "A patient in two splits makes the test optimistic. Move it, or accept it with `splits: {shared_groups: true}`."
    )
    return [
        Problem(
            where=f"group {group}",
            expected="all its items in one split",
            found=" and ".join(f"{name} in {split}" for split, name in sorted(members.items())),
            hint=hint,
        )
        for group, members in where.items()
        if len(members) > 1
    ]


def _drawn(
    names: set[str], groups: Mapping[str, str], fractions: Mapping[Split, float], seed: int
) -> tuple[dict[str, Split], list[Problem]]:
    sizes = Counter(groups[name] for name in names)
    try:
        given = divide(sizes, fractions, seed)
    except InvalidValue as error:
        wanted = [str(split) for split in Split if fractions.get(split, 0) > 0]
        hint = "Add data, set `groups`, or set fractions to 0."
        problem = Problem(
            where="splits", expected=f"a group for each of {', '.join(wanted)}", found=str(error), hint=hint
        )
        return {}, [problem]
    return {name: given[groups[name]] for name in names}, []
