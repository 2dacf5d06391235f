"""The verb that measures models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from alframe.cli_common import Json, emit, say, watched

__all__ = ["app"]

app = typer.Typer()

Part = Literal["train", "val", "test"]


@app.command()
def evaluate(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="YAMLs; a row each.", show_default=False)],
    round: Annotated[
        int | None, typer.Option(min=1, help="Whose model; default the last one that was trained.", show_default=False)
    ] = None,
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option(help="A file of weights instead, one for each member; may be repeated.", show_default=False),
    ] = None,
    split: Annotated[Part, typer.Option(help="On which items.")] = "test",
    output: Annotated[
        Path | None, typer.Option(help="Also write the table: .md, .csv or .json.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure trained models on the data of their YAML: accuracy, calibration and, where there are several, every rater.

    Example: `alframe evaluate lidc-bald.yaml lidc-random.yaml --split test --output table.md`
    """
    from alframe import config, scorecard
    from alframe.terminal import columns_view
    from alframe.types import Split

    if checkpoint and (len(files) > 1 or round is not None):
        raise typer.BadParameter("checkpoint files go with one YAML and without --round", param_hint="--checkpoint")
    cards = []
    with watched() as observer:
        for file in files:
            settings = config.load(file)
            count = observer.counter(f"measuring {settings.name}")
            found = scorecard.evaluate(
                settings, split=Split(split), index=round, files=checkpoint or (), progress=count
            )
            cards.append(found)
    emit(as_json, [card.plain() for card in cards], columns_view(scorecard.rows(cards)))
    if output is not None:
        say(f"Wrote {scorecard.write(cards, output).absolute()}")
