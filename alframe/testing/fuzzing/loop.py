"""One target under atheris: libFuzzer's mutations, guided by the coverage of the Python code. Findings do not end the run."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from alframe.errors import AlframeError
from alframe.testing.fuzzing.targets import Target

__all__ = ["Finding", "caught", "fuzz"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """An error that should not have come out: its type and words, the innermost line of alframe, and an input that makes it."""

    error: str
    where: str
    data: bytes


class _Watch:
    """Lets no error of its block out, and turns every one that is not alframe's into a finding about `data`."""

    def __init__(self, data: bytes) -> None:
        self.finding: Finding | None = None
        self._data = data

    def __enter__(self) -> _Watch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if isinstance(error, Exception) and not isinstance(error, AlframeError):
            frames = traceback.extract_tb(trace)
            ours = [frame for frame in frames if "/alframe/" in frame.filename and "/testing/" not in frame.filename]
            place = (ours or frames)[-1]
            where = f"{Path(place.filename).name}:{place.lineno} {place.name}"
            self.finding = Finding(error=f"{type(error).__name__}: {str(error)[:200]}", where=where, data=self._data)
        return isinstance(error, Exception)


def caught(read: Callable[[bytes], None], data: bytes) -> Finding | None:
    """What `read` raised other than AlframeError."""
    with _Watch(data) as watch:
        read(data)
    return watch.finding


def fuzz(target: Target, corpus: Path, findings: Path, options: Sequence[str]) -> None:
    """Run libFuzzer with `options` on a target; ends the process. The first input of each kind of finding is left in `findings`.

    `corpus` receives the valid files and what the fuzzer adds to them.
    """
    import atheris

    for number, data in enumerate(target.seeds()):
        (corpus / f"seed-{number}").write_bytes(data)
    known: set[tuple[str, str]] = set()

    def once(data: bytes) -> None:
        finding = caught(target.read, data)
        if finding is None:
            return
        kind = (finding.error.partition(":")[0], finding.where)
        if kind not in known:
            known.add(kind)
            path = findings / f"{len(known):03d}"
            path.write_bytes(finding.data)
            path.with_suffix(".txt").write_text(f"{finding.error}\n{finding.where}\n")

    atheris.Setup([sys.argv[0], str(corpus), *options], once, enable_python_coverage=True)
    atheris.Fuzz()
