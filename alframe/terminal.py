"""What a person sees in a terminal: progress of a campaign, and tables. Bars where there is a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.table import Table
from rich.text import Text

from alframe.doctor import Check
from alframe.overview import Overview, RoundRow
from alframe.registry import PlugIn
from alframe.types import Phase

if TYPE_CHECKING:
    from alframe.integrity import Report

__all__ = [
    "RichObserver",
    "checks_view",
    "columns_view",
    "integrity_view",
    "key_values",
    "plugins_view",
    "rows_view",
    "status_view",
]

_WORK = {
    Phase.PLANNED: "planning",
    Phase.TRAINED: "training",
    Phase.SCORED: "scoring",
    Phase.SELECTED: "selecting",
    Phase.ASKED: "asking",
    Phase.LABELLED: "labelling",
    Phase.COMMITTED: "committing",
    Phase.CALIBRATED: "measuring",
    Phase.DONE: "closing",
}
_LONG = (Phase.TRAINED, Phase.LABELLED)  # announced where there is no bar to see
_PLAIN_EVERY = 30.0  # seconds between lines of one phase where there is no terminal
_METRICS = (
    ("dice", "Dice", True),
    ("object_f1", "F1", True),
    ("nll", "NLL", False),
    ("ece", "ECE", False),
    ("brier", "Brier", False),
)


def duration(seconds: float) -> str:
    """A short length of time: ``0.4 s``, ``12 s``, ``3:05 min``, ``2:10 h``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02d} h"


class _Pace(ProgressColumn):
    """Parts a second and the time that is left."""

    def render(self, task: Task) -> Text:
        """The column of one task."""
        if not task.total or not task.completed:
            return Text(duration(task.elapsed or 0.0), style="dim")
        left = task.time_remaining
        pace = f"{task.completed / max(task.elapsed or 0.0, 1e-9):.3g}/s"
        return Text(pace if left is None else f"{pace} · {duration(left)} left", style="dim")


class RichObserver:
    """Shows a campaign's phases on a console (standard error). Implements :class:`alframe.ports.Observer`.

    Use as a context manager. Each finished round leaves one line. On a terminal the running phase has a bar; elsewhere
    long phases are announced and report every half minute.
    """

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._live = console.is_terminal
        self._bars = Progress(
            SpinnerColumn(style="cyan"),
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=28, complete_style="cyan", finished_style="green", pulse_style="cyan"),
            MofNCompleteColumn(),
            _Pace(),
            console=console,
            transient=True,
            disable=not self._live,
        )
        self._what, self._total, self._done = "", 0, 0
        self._began = self._said = 0.0
        self._round, self._times = -1, dict[Phase, float]()

    def __enter__(self) -> RichObserver:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()
        self._summarise()

    def heading(self, text: str) -> None:
        """A line above what follows, such as the name of the next campaign."""
        self._summarise()
        self._console.print(Text(text, style="bold"))

    def work(self, what: str, total: int) -> None:
        """Any other countable work (ingest) begins; :meth:`advanced` counts it."""
        self._what, self._total, self._done = what, total, 0
        self._began = self._said = self._clock()
        for task in self._bars.task_ids:
            self._bars.remove_task(task)
        self._bars.add_task(escape(what), total=total or None)

    def counter(self, what: str) -> Callable[[int, int], None]:
        """A callback for work that counts itself: it is given the parts done and the parts in all."""

        def count(done: int, total: int) -> None:
            if (what, total) != (self._what, self._total):
                self.work(what, total)
            self.advanced(done)

        return count

    def phase_started(self, round: int, phase: Phase, total: int) -> None:
        """A bar for the phase."""
        if round != self._round:
            self._summarise()
            self._round = round
        self.work(f"round {round} {_WORK[phase]}", total)
        if not self._live and phase in _LONG:
            self._console.print(Text(f"{self._what}, {total} part{'' if total == 1 else 's'}"), soft_wrap=True)

    def advanced(self, done: int) -> None:
        """Move the bar; without a terminal say so now and then."""
        self._done = done
        for task in self._bars.task_ids:
            self._bars.update(task, completed=done)
        now = self._clock()
        if not self._live and now - self._said >= _PLAIN_EVERY:
            self._said = now
            self._console.print(Text(f"{self._what}: {self._progress(now - self._began)}"), soft_wrap=True)

    def _progress(self, elapsed: float) -> str:
        pace = self._done / elapsed if elapsed > 0 else 0.0
        parts = [f"{self._done}/{self._total}" if self._total else f"{self._done}", f"{pace:.3g}/s"]
        if pace > 0 and self._total:
            parts.append(f"{duration((self._total - self._done) / pace)} left")
        return ", ".join(parts)

    def phase_finished(self, round: int, phase: Phase, seconds: float) -> None:
        """Note the time; the round's line comes when it is done."""
        if round != self._round:
            self._summarise()
            self._round = round
        self._times[phase] = seconds
        for task in self._bars.task_ids:
            self._bars.remove_task(task)
        if phase is Phase.DONE:
            self._summarise()

    def _summarise(self) -> None:
        """One line for the round that ended; phases that took no time to speak of are left out."""
        if self._times:
            total = sum(self._times.values())
            slow = [
                f"{_WORK[phase]} {duration(spent)}" for phase, spent in self._times.items() if spent >= 0.05 * total
            ]
            name, parts = f"round {self._round}", (" · ".join(slow), "dim")
            line = Text.assemble(("● ", "green"), (name, "bold"), f"  {duration(total)}  ", parts)
            self._console.print(line, overflow="ellipsis", no_wrap=self._live, soft_wrap=not self._live)
        self._times = {}


def _style(status: str) -> str:
    """The colour of a campaign's status."""
    return {"running": "cyan", "waiting": "yellow", "done": "green", "stopped": "yellow", "failed": "red"}.get(
        status, ""
    )


def _cell(row: RoundRow, name: str, best: float | None) -> Text:
    value = row.metrics.get(name)
    if value is None:
        return Text("–", style="dim")
    return Text(f"{value:.3f}", style="bold green" if value == best else "")


def status_view(found: Overview) -> RenderableType:
    """A campaign's head line and a row for each round; the best value of each metric stands out."""
    head = Text.assemble((found.name, "bold"), "  ", (found.status, f"bold {_style(found.status)}"))
    if found.reason:
        head.append(f"  {found.reason}", style="dim")
    scope = next((row.scope for row in found.rounds if row.scope), "")
    if scope:
        head.append(f"  metrics on {scope}", style="dim")
    shown = [column for column in _METRICS if any(column[0] in row.metrics for row in found.rounds)]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("#", justify="right")
    table.add_column("phase", no_wrap=True)
    for title in ("labels", "pixels", "time"):
        table.add_column(title, justify="right", no_wrap=True)
    for _, title, _ in shown:
        table.add_column(title, justify="right", no_wrap=True)
    best: dict[str, float | None] = {}
    for name, _, higher in shown:
        values = [row.metrics[name] for row in found.rounds if name in row.metrics]
        best[name] = (max(values) if higher else min(values)) if len(values) > 1 else None
    for row in found.rounds:
        share = Text("–", style="dim") if row.fraction is None else Text(f"{100 * row.fraction:.2f} %")
        done = row.phase is Phase.DONE
        table.add_row(
            str(row.index),
            Text("✓ done" if done else row.phase.value, style="green" if done else "cyan"),
            f"{row.answers}/{row.queries}",
            share,
            duration(row.seconds),
            *(_cell(row, name, best[name]) for name, _, _ in shown),
        )
    body: RenderableType = table if found.rounds else Text("no round yet", style="dim")
    faults = [Text(f"not taken: {one.source}: {one.problem}", style="yellow") for one in found.refused]
    return Group(head, Text(), body, *faults)


def key_values(rows: Mapping[str, Any] | Sequence[tuple[str, Any]]) -> RenderableType:
    """Names and values in two columns; whole numbers with thin groups of three digits."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column()
    for name, value in rows.items() if isinstance(rows, Mapping) else rows:
        if isinstance(value, Mapping):
            text = ", ".join(f"{number} {part}" for part, number in value.items())
        elif isinstance(value, int) and not isinstance(value, bool):
            text = f"{value:,}".replace(",", " ")
        elif isinstance(value, float):
            text = f"{value:.4g}"
        else:
            text = str(value)
        table.add_row(name.replace("_", " "), Text(text))
    return table


def checks_view(checks: Sequence[Check]) -> RenderableType:
    """The findings of `doctor`, each with its advice below."""
    marks = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "failed": ("✗", "bold red")}
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for check in checks:
        mark, style = marks[check.state]
        found = Text(check.found)
        if check.advice:
            found.append(f"\n→ {check.advice}", style=style)
        table.add_row(Text(mark, style=style), Text(check.name, style="bold"), found)
    return table


def integrity_view(report: Report) -> RenderableType:
    """What was checked, and each finding with what became of it and what to do."""
    counts = ", ".join(f"{number} {what}" for what, number in report.checked.items())
    verdict = ("clean", "bold green") if report.clean else ("damaged", "bold red")
    head = Text.assemble((report.campaign, "bold"), "  ", verdict, "  ", (counts, "dim"))
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for one in report.findings:
        style = "red" if one.damage else "yellow" if one.outcome == "noted" else "green"
        text = Text(f"{one.where}\n{one.found}")
        if one.advice:
            text.append(f"\n→ {one.advice}", style=style)
        table.add_row(Text(one.outcome, style=style), text)
    return Group(head, table) if report.findings else head


def rows_view(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Rows with the same keys as a table; lists are joined, what is not there is a dash."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in rows[0]:
        table.add_column(title, overflow="fold")
    for row in rows:
        cells = (", ".join(map(str, cell)) if isinstance(cell, list) else cell for cell in row.values())
        table.add_row(*(Text("–" if cell is None else str(cell)) for cell in cells))
    return table


def columns_view(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Rows with the same keys as a table on its side: a column each, headed by the row's first value."""
    first, *names = rows[0]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(first)
    for row in rows:
        table.add_column(str(row[first]), justify="right", overflow="fold")
    for name in names:
        table.add_row(name, *(Text(str(row[name])) for row in rows))
    return table


def plugins_view(plugins: Sequence[PlugIn]) -> RenderableType:
    """Plug-ins by group; broken ones say why."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("kind", "name", "from", "state"):
        table.add_column(title, overflow="fold")
    for one in plugins:
        state = Text(one.problem or "ok", style="red" if one.problem else "green")
        table.add_row(
            one.group.rpartition(".")[2], Text(one.name, style="bold"), f"{one.distribution} {one.version}", state
        )
    return table
