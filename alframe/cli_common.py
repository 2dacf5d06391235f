"""What the modules of the command line share: where results and messages go, and how progress is shown."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from alframe.terminal import RichObserver

__all__ = ["File", "Json", "console", "emit", "say", "stopped_by_sigterm", "watched"]

File = Annotated[Path, typer.Argument(metavar="FILE", help="The campaign's YAML.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output and nothing else there.")]


def console(*, error: bool = True) -> Console:
    """Standard error, or standard output."""
    from rich.console import Console

    return Console(stderr=error, highlight=False)


def emit(as_json: bool, value: Any, view: RenderableType) -> None:
    """The result: JSON, or what a person reads."""
    if as_json:
        sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")
    elif isinstance(view, str):
        console(error=False).print(view, markup=False, soft_wrap=True)
    else:
        console(error=False).print(view)


def say(text: str) -> None:
    """A message for a person, on standard error."""
    console().print(text, markup=False, soft_wrap=True)


@contextmanager
def watched() -> Iterator[RichObserver]:
    """Progress on standard error; SIGTERM ends the block as Ctrl-C does."""
    from alframe.terminal import RichObserver

    with stopped_by_sigterm(), RichObserver(console()) as observer:
        yield observer


@contextmanager
def stopped_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
