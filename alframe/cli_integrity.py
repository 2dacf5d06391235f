"""The verbs that ask whether a campaign is what it says it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from alframe.cli_common import File, Json, emit, watched

if TYPE_CHECKING:
    from alframe.integrity import Report

__all__ = ["app"]

app = typer.Typer()


def _finish(report: Report, as_json: bool) -> None:
    from alframe.terminal import integrity_view

    emit(as_json, report.plain(), integrity_view(report))
    raise typer.Exit(0 if report.clean else 1)


@app.command()
def fsck(
    file: File,
    repair: Annotated[bool, typer.Option("--repair", help="Recompute, quarantine and collect.")] = False,
    grace: Annotated[float, typer.Option(min=0, help="Hours for which an unnamed file is no orphan.")] = 24.0,
    as_json: Json = False,
) -> None:
    """Check every row and every file of a campaign; exit code 1 when damage is left. Labels are never deleted.

    Example: `alframe fsck glands.yaml --repair`
    """
    from alframe import access, compose, config, integrity

    settings = config.load(file)
    store, seconds = compose.open_artifacts(settings), 3600 * grace
    with watched() as observer, access.ledger(settings) as ledger:
        report = integrity.check(
            ledger,
            store,
            compose.open_pool(settings),
            settings.name,
            grace=seconds,
            progress=observer.counter("checking"),
        )
        if repair and report.findings:
            with compose.open_campaign(settings) as campaign:
                count = observer.counter("repairing rounds")
                report = integrity.repair(campaign.settings, campaign.parts, report, grace=seconds, progress=count)
    _finish(report, as_json)


@app.command()
def replay(
    file: File,
    metrics: Annotated[
        bool, typer.Option("--metrics", help="Compute the metrics again, too, from their sums.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Take every decision of a campaign again from its stored scores and seeds; exit code 1 when one differs.

    Example: `alframe replay glands.yaml --metrics`
    """
    from alframe import access, compose, config, integrity

    settings = config.load(file)
    with access.ledger(settings) as ledger:
        ledger.campaign(settings.name)  # one that was never begun is not created here
    with watched() as observer, compose.open_campaign(settings) as campaign:
        count = observer.counter("replaying rounds")
        report = integrity.replay(campaign.settings, campaign.parts, metrics=metrics, progress=count)
    _finish(report, as_json)
