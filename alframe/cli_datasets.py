"""The verb that brings data sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from alframe.cli_common import Json, emit, say, watched

__all__ = ["app"]

app = typer.Typer()


@app.command()
def download(
    source: Annotated[
        str | None, typer.Argument(help="A name, or the https:// address of a zip or tar.", show_default=False)
    ] = None,
    to: Annotated[Path | None, typer.Option(help="The folder to make; default: its name.", show_default=False)] = None,
    digest: Annotated[
        str, typer.Option(help="What the archive must hash to: sha256:… or md5:….", show_default=False)
    ] = "",
    as_json: Json = False,
) -> None:
    """Fetch a public data set and say how a campaign reads it; without a name, list those that are known.

    Example: `alframe download Task04_Hippocampus --to hippocampus`
    """
    from alframe import datasets

    if source is None:
        known = datasets.catalogue()
        named = [{"name": name, "url": url, "digest": wanted} for name, (url, wanted) in known.items()]
        emit(as_json, named, "\n".join(f"{one['name']:24s}{one['url']}" for one in named))
        return
    folder = to or Path(Path(source.split("?")[0].rstrip("/")).name.split(".")[0] or "data")
    with watched():
        say(f"Fetching {source}; if it is cut off, the same command goes on from there")
        found = datasets.download(source, folder, digest)
    emit(as_json, found.plain(), _section(found.data))
    say(f"{found.files:,} files in {folder.absolute()}")
    if found.data is None:
        say("How a campaign reads them is for you to say: see docs/how-to/own-data.md")


def _section(data: dict[str, object] | None) -> str:
    """As YAML, of which JSON's values are a part."""
    if data is None:
        return ""
    return "\n".join(["data:", *(f"  {key}: {json.dumps(value, ensure_ascii=False)}" for key, value in data.items())])
