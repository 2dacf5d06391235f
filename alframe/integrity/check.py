"""The check: rows against rows, every named file against its hash, the pool against its manifest, and what nobody names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from alframe.campaign.writer import Stored
from alframe.errors import AlframeError, ArtifactDamaged, ArtifactMissing
from alframe.integrity.findings import LABELS, Finding, Progress, Report
from alframe.integrity.rows import check_rows
from alframe.ports import Artifacts, Ledger, Pool, Upkeep
from alframe.types import ArtifactRef, Box, ItemInfo

__all__ = ["GRACE", "check"]

GRACE = 24 * 3600.0
"""Seconds for which nobody takes a file for an orphan: its writer may be about to name it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Named:
    """An artifact that the ledger names: `box` is what a mask must fill."""

    where: str
    ref: ArtifactRef
    round: int
    key: str = ""
    query: str = ""
    box: Box | None = None


def check(
    ledger: Ledger,
    artifacts: Artifacts,
    pool: Pool,
    name: str,
    *,
    grace: float = GRACE,
    progress: Progress | None = None,
) -> Report:
    """Look at all that a campaign consists of; nothing is changed. Raises NotFound when the ledger has no such campaign.

    `grace` in seconds: unnamed files that are younger are not mentioned. `progress` counts the files of the campaign.
    """
    record = ledger.campaign(name)
    findings: list[Finding] = []
    items: dict[str, ItemInfo] | None = None
    try:
        items = {info.id: info for info in pool.items()}
        if pool.manifest_hash != record.pool_hash:
            text = f"hash {pool.manifest_hash[:12]}, the campaign began on {record.pool_hash[:12]}"
            findings.append(Finding(code="pool", where="pool", found=text, advice="Put the campaign's own pool back."))
        pool.verify()
    except AlframeError as error:
        advice = "Restore the pool from a backup, or ingest the same data again into an empty folder."
        findings.append(Finding(code="pool", where="pool", found=str(error), advice=advice))
    findings += check_rows(ledger, name, items)
    named = _named(ledger, artifacts, name)
    bad = {}
    for done, one in enumerate(named, start=1):
        if (found := _examine(artifacts, one)) is not None:
            bad[one.ref] = found
        if progress is not None:
            progress(done, len(named))
    findings += bad.values()
    strays = list(_strays(ledger, artifacts, {one.ref.sha256 for one in named}, grace))
    checked = {
        "rounds": len(ledger.rounds(name)),
        "queries": len(ledger.queries(name)),
        "answers": len(ledger.answers(name)),
        "files": len(named),
        "items": len(items or {}),
    }
    return Report(campaign=name, checked=checked, findings=(*findings, *strays))


def _named(ledger: Ledger, artifacts: Artifacts, name: str) -> list[_Named]:
    """Every artifact of a campaign once, under the first row that names it; labels are the first of all."""
    found: dict[ArtifactRef, _Named] = {}
    for answer in ledger.answers(name):
        if answer.mask is not None:
            where = f"answer {answer.sequence} ({answer.item}, by {answer.rater})"
            one = _Named(where=where, ref=answer.mask, round=answer.round, query=answer.query, box=answer.box)
            found.setdefault(one.ref, one)
    for record in ledger.rounds(name):
        boxes = {}
        for query in ledger.queries(name, record.index):
            boxes[query.id] = query.box
            if query.prefill is not None:
                where = f"round {record.index} pre-fill of query {query.id}"
                found.setdefault(
                    query.prefill, _Named(where=where, ref=query.prefill, round=record.index, query=query.id)
                )
        for key, ref in ledger.artifacts(name, record.index).items():
            where = f"round {record.index} {key}"
            found.setdefault(ref, _Named(where=where, ref=ref, round=record.index, key=key))
            mask = _told_mask(artifacts, ref)
            if mask is not None:
                told = _Named(where=f"{where} (mask)", ref=mask, round=record.index, box=boxes.get(key.split("/")[1]))
                found.setdefault(mask, told)
    return list(found.values())


def _told_mask(artifacts: Artifacts, ref: ArtifactRef) -> ArtifactRef | None:
    """The mask of an answer that was told and may not be committed yet; None where there is none, or it cannot be read."""
    if ref.kind != "answer":
        return None
    try:
        return Stored.from_json(artifacts.get(ref)).mask
    except (ArtifactMissing, ArtifactDamaged):
        return None


def _examine(artifacts: Artifacts, one: _Named) -> Finding | None:
    try:
        if one.box is None:
            artifacts.get(one.ref)
            return None
        shape = artifacts.get_arrays(one.ref)["classes"].shape
        if shape == one.box.shape:
            return None
        code, found = "mask", f"a label map {shape} for a box {one.box.shape}"
    except ArtifactMissing as error:
        code, found = "missing", str(error)
    except ArtifactDamaged as error:
        code, found = "damaged", str(error)
    advice = "`alframe fsck --repair` recomputes it."
    if one.ref.kind in LABELS:
        advice = "Restore it from a backup; a label is never recomputed. `--repair` keeps damaged bytes in quarantine."
    where = f"{one.where}: {one.ref.kind} {one.ref.sha256[:12]}"
    return Finding(
        code=code, where=where, found=found, advice=advice, round=one.round, key=one.key, query=one.query, ref=one.ref
    )


def _strays(ledger: Ledger, artifacts: Artifacts, own: set[str], grace: float) -> Iterator[Finding]:
    """Files that no row names, labels excepted: those are left alone whatever names them.

    The ledger is asked after the store, so that a file named meanwhile is not taken for an orphan.
    """
    if not isinstance(artifacts, Upkeep):
        found = "this store cannot list its files; orphans were not looked for"
        yield Finding(code="orphans", where="store", found=found, outcome="noted")
        return
    files = list(artifacts.stored())
    named = ledger.named() | own
    for file in files:
        base = Finding(code="", where=file.place, found="", outcome="noted", file=file)
        old = f"put {file.age / 3600:.0f} hours ago"
        if file.ref is None and not file.unfinished:
            yield replace(base, code="stranger", found="no artifact of alframe", advice="Keep other files elsewhere.")
        elif file.age >= grace and (file.ref is None or file.ref.sha256 not in named):
            if file.ref is not None and file.ref.kind in LABELS:
                continue
            code = "unfinished" if file.unfinished else "orphan"
            found = f"left behind by a killed writer, {old}" if file.unfinished else f"no row names it, {old}"
            yield replace(base, code=code, found=found, advice="Harmless; `--repair` collects it.")
