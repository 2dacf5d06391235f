"""The verbs of labelling in a browser: serve the desk, and write out what raters drew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from alframe.cli_common import File, say, stopped_by_sigterm

__all__ = ["label_app"]

label_app = typer.Typer(help="Labelling in a browser.", no_args_is_help=True)


@label_app.command("serve")
def label_serve(
    file: File,
    host: Annotated[str, typer.Option(help="Where to listen; elsewhere than here needs TLS or a proxy.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0 takes a free one.")] = 8000,
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate (PEM).", show_default=False)] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its key (PEM).", show_default=False)] = None,
    behind_proxy: Annotated[
        str, typer.Option(metavar="URL", help="What people open, when a proxy adds TLS.", show_default=False)
    ] = "",
) -> None:
    """Serve the tasks of a campaign to raters' browsers until Ctrl-C; `alframe run --wait` beside it goes on by itself.

    Example: `alframe label serve glands.yaml --port 8000`
    """
    from alframe import compose, config
    from alframe.annotator import Serving, announced, create_app, heap

    serving = Serving(host=host, port=port, certificate=tls_cert, key=tls_key, proxy=behind_proxy)
    settings = config.load(file)
    heap.share()  # before any thread begins
    office = compose.open_office(settings, serving.door)

    def ready(url: str) -> None:
        tell(url)
        say(f"Labelling {settings.name} at {url} (Ctrl-C ends it; nothing that was saved is lost)")
        say(f"Invite a rater: alframe raters add {file} NAME --invite")

    with stopped_by_sigterm(), announced(settings.workdir_path) as tell:
        serving.run(create_app(office), ready)
    say("Stopped. Leases and drafts are kept.")
