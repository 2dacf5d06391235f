"""People who label with the program they like: QuPath, napari, ITK-SNAP, 3D Slicer, or any that reads and writes image files."""

from __future__ import annotations

import difflib
import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

from alframe.errors import InvalidValue
from alframe.labelling import Intake, LabellingDesk, Task, TaskState, rater_name
from alframe.oracles.folder.inbox import SHEET, Entry, Inbox, Incomplete, MaskReader, Piece, entries, say, version
from alframe.oracles.folder.layout import Layout, name_of
from alframe.oracles.human import Human, HumanOracle
from alframe.ports import Pool
from alframe.types import Answer, Query

__all__ = ["Folder", "FolderOracle"]

_TOOL = "folder"
_LEAST_BYTES = 64 * 2**20
_BYTES_PER_PIXEL = 32
_SHEET_BYTES = 64 * 2**10


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """The parameters of labelling through a folder.

    `folder` is relative to `workdir`. `format` of the images: ``auto`` is PNG where it fits, TIFF elsewhere, NIfTI for volumes.
    `rater` is who saves files directly in ``labels``; those in ``labels/NAME`` are NAME's. A file is taken when it did not change
    for `settle` seconds. `replicas`, `blind_share`, `adjudicate_above`, `skips`, `seed`: as of ``human``.

    Raises:
        InvalidValue: when a number or the rater's name cannot be.
    """

    people: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ("workdir", "read_mask")
    places: ClassVar[tuple[str, ...]] = ("folder", "settle")

    folder: str = "labelling"
    format: Literal["auto", "png", "tiff", "nifti"] = "auto"
    rater: str = "expert"
    settle: float = 2.0
    replicas: int = 1
    blind_share: float = 0.0
    adjudicate_above: float | None = None
    skips: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.settle) and 0 <= self.settle <= 60):
            raise InvalidValue(f"settle is 0 to 60 seconds, got {self.settle}")
        if not self.folder.strip() or "\0" in self.folder:
            raise InvalidValue("folder names a folder, relative to workdir")
        rater_name(self.rater)
        self.rules()

    def rules(self) -> Human:
        """How tasks are put up at the desk."""
        return Human(
            replicas=self.replicas,
            blind_share=self.blind_share,
            repeat_share=0.0,
            adjudicate_above=self.adjudicate_above,
            skips=self.skips,
            seed=self.seed,
        )

    def bind(self, pool: Pool, desk: LabellingDesk, *, workdir: Path, read_mask: MaskReader) -> FolderOracle:
        """The oracle over ``workdir/folder``."""
        return FolderOracle(pool, desk, self, workdir=workdir, read_mask=read_mask)


class FolderOracle:
    """An :class:`~alframe.ports.Oracle`. What was asked and answered is at the desk; the folder can be written again."""

    def __init__(
        self, pool: Pool, desk: LabellingDesk, parameters: Folder, *, workdir: Path, read_mask: MaskReader
    ) -> None:
        self._pool, self._desk, self._parameters, self._read_mask = pool, desk, parameters, read_mask
        self._people = HumanOracle(pool, desk, parameters.rules())
        self._layout = Layout(workdir / parameters.folder, pool, parameters.format)
        self._settle = parameters.settle

    @property
    def immediate(self) -> bool:
        """Always False."""
        return False

    def ask(self, campaign: str, queries: Sequence[Query]) -> None:
        """Put up a task for each query, at the desk and in the folder.

        Raises:
            NotFound, InvalidValue, ConflictError: as :meth:`HumanOracle.ask`, and when pixels do not fit the file format.
            StoreUnavailable: when the folder is gone.
        """
        self._open(campaign)
        self._people.ask(campaign, queries)
        self._put_up(campaign)

    def collect(self, campaign: str, queries: Sequence[Query]) -> tuple[Answer, ...]:
        """Take in what was saved, then the answers to closed tasks. Waits, once and for `settle` seconds, for files being written.

        Raises: StoreUnavailable when the folder is gone; ArtifactMissing, ArtifactDamaged.
        """
        if not queries:
            return ()
        self._open(campaign)
        self._put_up(campaign)
        self.take_in(campaign)
        return self._people.collect(campaign, queries)

    def close(self) -> None:
        """Release the desk's connections; the next call opens them again."""
        self._people.close()

    def _open(self, campaign: str) -> None:
        begun = bool(self._desk.ledger.tasks(campaign, limit=1))
        self._layout.open(campaign, begun=begun, classes=self._pool.classes, settle=self._settle)

    def _put_up(self, campaign: str) -> None:
        for task in self._desk.ledger.tasks(campaign, state=TaskState.OPEN):
            self._layout.write(task, self._desk)

    def take_in(self, campaign: str) -> dict[str, str]:
        """Hand in every label file that is new; by file, what is wrong with those that could not be taken."""
        intake = Intake(self._desk, campaign, _TOOL)
        young = self._pass(intake, Inbox(self._layout.labels, self._settle))
        if young:
            time.sleep(self._settle + 0.05)
            intake = Intake(self._desk, campaign, _TOOL)
            young = self._pass(intake, Inbox(self._layout.labels, self._settle))
        intake.finish()
        self._layout.say(intake.problems, self._status(campaign, intake, young))
        return intake.problems

    def _pass(self, intake: Intake, inbox: Inbox) -> list[str]:
        """Offer every piece; the names of those that somebody is still writing."""
        tasks = {name_of(task): task for task in intake.tasks.values()}
        young = []
        for piece in self._pieces(intake, tasks):
            source = self._source(piece.main)
            try:
                self._offer(intake, inbox, piece, tasks[piece.stem], source)
            except Incomplete:
                intake.seen(source)
                young.append(source)
            except InvalidValue as error:
                intake.refuse(source, "", str(error))
        return young

    def _offer(self, intake: Intake, inbox: Inbox, piece: Piece, task: Task, source: str) -> None:
        most = max(_LEAST_BYTES, _BYTES_PER_PIXEL * task.box.size)
        mask = None if piece.mask is None else inbox.read(piece.mask, most)
        sheet = None if piece.sheet is None else inbox.read(piece.sheet, _SHEET_BYTES)
        suffix = "" if piece.mask is None else piece.mask.name[len(piece.stem) :].lower()
        matrix = self._pool.info(task.item).to_world(task.box.start)
        intake.offer(
            task=task,
            rater=piece.rater,
            source=source,
            version=version(mask, sheet),
            read=lambda: say(mask, sheet, suffix, task.box.shape, matrix, self._read_mask),
            shown=True,
        )

    def _pieces(self, intake: Intake, tasks: dict[str, Task]) -> Iterator[Piece]:
        """Label files that belong to a task, by rater and name; everything else is refused here."""
        found: dict[tuple[str, str], Piece] = {}
        for entry in entries(self._layout.labels):
            source = self._source(entry.path)
            key = (entry.rater or self._parameters.rater, entry.stem)
            piece = found.get(key) or Piece(rater=key[0], stem=entry.stem)
            other = piece.sheet if entry.suffix == SHEET else piece.mask
            fault = self._fault(entry, tasks)
            if not fault and other is not None:
                fault = f"{self._source(other)} is by the same rater for the same task; keep one of them"
            if fault:
                intake.refuse(source, "", fault)
            elif entry.suffix == SHEET:
                found[key] = replace(piece, sheet=entry.path)
            else:
                found[key] = replace(piece, mask=entry.path)
        yield from found.values()

    def _fault(self, entry: Entry, tasks: dict[str, Task]) -> str:
        if entry.path.is_symlink():
            return "this is a link; save a copy of the file itself"
        if entry.path.is_dir():
            return "a folder inside a rater's folder is not looked at; move its files up"
        if not entry.suffix:
            return "not a kind of file that is read here; save the label map as .png, .tif or .nii.gz"
        if entry.stem not in tasks:
            near = difflib.get_close_matches(entry.stem, tasks, n=1, cutoff=0.5)
            meant = f"; did you mean {near[0]}{entry.suffix}?" if near else ""
            return f"no task has this name; a label map is called like its image in the folder images{meant}"
        return ""

    def _source(self, path: Path) -> str:
        return os.fsencode(path.relative_to(self._layout.root)).decode("utf-8", "replace")

    def _status(self, campaign: str, intake: Intake, young: Sequence[str]) -> str:
        tasks = self._desk.ledger.tasks(campaign)
        waiting = [name_of(task) for task in tasks if task.state is TaskState.OPEN]
        disputed = [name_of(task) for task in tasks if task.state is TaskState.DISPUTED]
        lines = [f"{len(tasks) - len(waiting) - len(disputed)} of {len(tasks)} tasks are done."]
        for title, names in (
            ("Waiting for labels", waiting),
            ("Raters disagree; a reviewer decides", disputed),
            ("Still being written, looked at next time", young),
        ):
            lines += ["", f"{title}:", *(f"  {name}" for name in names)] if names else []
        if intake.problems:
            lines += ["", "Not taken:"]
            lines += [f"  {source}: {text}" for source, text in intake.problems.items()]
        return "\n".join(lines) + "\n"
