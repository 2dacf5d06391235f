"""The command line: a thin face over the Python API.

Results go to standard output (``--json``: JSON and nothing else); progress and messages go to standard error. Exit codes:
0 done, 1 run-time failure, 2 usage, configuration or data, 3 waiting for labels, 4 a budget other than `rounds` ran dry,
5 another driver holds the campaign, 6 the Ray cluster cannot be reached or lost its head, 130 interrupted (Ctrl-C or
SIGTERM; `alframe resume` goes on).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from alframe import __version__, cli_cluster, cli_datasets, cli_evaluation, cli_integrity, cli_labelling, cli_serving
from alframe.cli_common import File, Json, console, emit, say, watched
from alframe.errors import (
    AlframeError,
    ClusterUnavailable,
    ConflictError,
    ExtraMissing,
    FencedError,
    InvalidValue,
    LeaseHeld,
    NotFound,
    ProblemsError,
)

if TYPE_CHECKING:
    from alframe.config import Config

__all__ = ["app", "main"]

app = typer.Typer(
    name="alframe",
    help="Active learning for biomedical image segmentation: choose what an expert should label next, and show what it brought.",
    epilog="Exit codes: 0 done · 1 run-time failure · 2 usage, configuration or data · 3 waiting for labels · 4 a budget ran dry "
    "· 5 another driver holds the campaign · 6 the Ray cluster is gone · 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
plugins_app = typer.Typer(help="Plug-ins: strategies, learners, oracles and readers.", no_args_is_help=True)
database_app = typer.Typer(help="The SQL ledger.", no_args_is_help=True)
app.add_typer(cli_cluster.app)
app.add_typer(cli_datasets.app)
app.add_typer(cli_evaluation.app)
app.add_typer(cli_integrity.app)
app.add_typer(cli_serving.label_app, name="label")
app.add_typer(cli_labelling.raters_app, name="raters")
app.add_typer(cli_labelling.audit_app, name="audit")
app.add_typer(plugins_app, name="plugins")
app.add_typer(database_app, name="db")

Template = Literal["regions", "images", "volumes"]
Kind = Literal["labels", "predictions", "scores", "model"]
Format = Literal["png", "tiff", "nifti", "coco", "safetensors", "torchscript", "onnx"]
Part = Literal["train", "val", "test"]


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    if version:
        sys.stdout.write(f"alframe {__version__}\n")
        raise typer.Exit


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where the demo is kept.")] = Path("alframe-demo"),
    as_json: Json = False,
) -> None:
    """Run a campaign on generated histology: region BALD against random regions, and write a report.

    Example: `alframe demo`
    """
    from alframe import demo as demonstration

    with watched() as observer:
        path = demonstration.run(folder, observer, observer.heading)
    emit(as_json, {"report": str(path.absolute())}, f"Report: {path.absolute()}")


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="The file to write.")] = Path("campaign.yaml"),
    template: Annotated[Template, typer.Option(help="What kind of campaign.")] = "regions",
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
) -> None:
    """Write a commented YAML to start from.

    Example: `alframe init glands.yaml --template regions`
    """
    from alframe import templates

    templates.write(template, path, replace=force)
    say(f"Wrote {path}. Next: edit it, then `alframe validate {path}` and `alframe ingest {path}`.")


@app.command()
def validate(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE]...", help="Campaign YAMLs.", show_default=False)
    ] = None,
    as_json: Json = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema for editors instead.")] = False,
) -> None:
    """Check YAMLs and report every problem as file:line:column; nothing is written.

    Example: `alframe validate glands.yaml`
    """
    from alframe import config

    if schema:
        emit(True, config.json_schema(), "")
        return
    if not files:
        raise typer.BadParameter("give at least one FILE, or --schema")
    problems = [problem for file in files for problem in config.problems(file)]
    rows = [{"where": one.where, "expected": one.expected, "found": one.found, "hint": one.hint} for one in problems]
    if as_json:
        emit(True, {"valid": not problems, "problems": rows}, "")
    elif problems:
        say("\n".join(str(problem) for problem in problems))
        say(f"{len(problems)} problem{'s' if len(problems) > 1 else ''}.")
    else:
        say(f"{', '.join(map(str, files))}: valid.")
    raise typer.Exit(2 if problems else 0)


@app.command()
def ingest(file: File, as_json: Json = False) -> None:
    """Check all images and masks, then write the pool; a repeated or interrupted ingest leaves no half pool.

    Example: `alframe ingest glands.yaml`
    """
    from alframe import compose, config
    from alframe.terminal import key_values
    from alframe.types import Split

    settings = config.load(file)
    with watched() as observer:
        pool = compose.ingest(
            settings, checking=observer.counter("checking"), writing=observer.counter("writing the pool")
        )
    rows = {
        "pool": str(settings.pool_path),
        "manifest_hash": pool.manifest_hash,
        "items": {split.value: len(pool.items(split)) for split in Split},
        "classes": list(pool.classes),
    }
    emit(as_json, rows, key_values(rows | {"classes": ", ".join(pool.classes)}))


@app.command()
def plan(file: File, as_json: Json = False) -> None:
    """Dry run: rounds, queries, annotated pixels, trainings and disk, without doing anything.

    Example: `alframe plan glands.yaml`
    """
    from alframe import compose, config
    from alframe.terminal import key_values

    found = compose.plan(config.load(file))
    emit(as_json, found, key_values(found))


Wait = Annotated[bool, typer.Option("--wait", help="Where labels are missing, wait for them instead of ending with 3.")]


@app.command()
def run(file: File, wait: Wait = False, as_json: Json = False) -> None:
    """Start a campaign, or go on with it where it stands, until a rule ends it or labels are missing.

    Example: `alframe run glands.yaml`
    """
    from alframe import config

    _drive(config.load(file), wait, as_json)


@app.command()
def resume(file: File, wait: Wait = False, as_json: Json = False) -> None:
    """Go on with a campaign that was stopped, interrupted or killed; says what changed in its YAML and refuses what is unsafe.

    Example: `alframe resume glands.yaml`
    """
    from alframe import access, config

    settings = config.load(file)
    for change in access.pending_changes(settings):
        if change.safe:  # the others are named by the refusal
            say(f"changed: {change}")
    _drive(settings, wait, as_json)


_POLL_SECONDS = 2.0


def _drive(settings: Config, wait: bool, as_json: bool) -> None:
    """Run to the end of what can be done (now, or with whoever is waited for); the exit code says how it stands."""
    from alframe import compose
    from alframe.overview import exit_code, overview
    from alframe.terminal import status_view

    with (
        watched() as observer,
        compose.open_campaign(settings, observer) as campaign,
        compose.open_labelling(settings) as labelling,
    ):
        standing = campaign.run(poll=_POLL_SECONDS if wait else None)
        found = overview(campaign.parts.ledger, settings.name, labelling)
    emit(as_json, found.plain(), status_view(found))
    raise typer.Exit(exit_code(standing.status, standing.reason))


@app.command()
def status(
    file: File,
    as_json: Json = False,
    watch: Annotated[bool, typer.Option("--watch", help="Refresh until the campaign stands still.")] = False,
) -> None:
    """Show how a campaign stands, round by round.

    Example: `alframe status glands.yaml --watch`
    """
    from alframe import access, config
    from alframe.overview import overview
    from alframe.terminal import status_view

    settings = config.load(file)
    with access.ledger(settings) as ledger, access.labelling(settings) as labelling:
        found = overview(ledger, settings.name, labelling)
        if watch and not as_json:
            from rich.live import Live

            with Live(status_view(found), console=console(error=False), auto_refresh=False) as live:
                while found.status == "running":
                    time.sleep(1.0)
                    found = overview(ledger, settings.name, labelling)
                    live.update(status_view(found), refresh=True)
            return
    emit(as_json, found.plain(), status_view(found))


@app.command()
def stop(
    file: File,
    reason: Annotated[str, typer.Option(help="Why; kept with the campaign.")] = "stopped by hand",
) -> None:
    """Ask the driver of a campaign, wherever it runs, to stop after its current phase.

    Example: `alframe stop glands.yaml --reason "the scanner was recalibrated"`
    """
    from alframe import access, config

    settings = config.load(file)
    with access.ledger(settings) as ledger:
        ledger.request_stop(settings.name, reason)
    say(f"Campaign {settings.name} will stop after its current phase. `alframe resume {file}` goes on.")


@app.command()
def report(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="YAMLs; several are compared.", show_default=False)
    ],
    output: Annotated[
        Path | None, typer.Option(help="Where to write it; default report.html in workdir.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Write one offline HTML report; several campaigns of one ledger are drawn together.

    Example: `alframe report glands-bald.yaml glands-random.yaml --output report.html`
    """
    from alframe import access, compose, config
    from alframe.report import render

    settings = [config.load(file) for file in files]
    first = access.common(settings)
    path = output or first.workdir_path / "report.html"
    names = [one.name for one in settings]
    store, pool = compose.open_artifacts(first), compose.open_pool(first)
    with access.ledger(first) as ledger, access.labelling(first) as labelling:
        written = render(ledger, store, pool, names, path, labelling=labelling)
    emit(as_json, {"report": str(written.absolute())}, f"Report: {written.absolute()}")


@app.command()
def export(
    file: File,
    kind: Annotated[Kind, typer.Argument(help="What to write.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option(help="The folder; default KIND in workdir.", show_default=False)
    ] = None,
    format: Annotated[
        Format | None,
        typer.Option(help="png, tiff, nifti or coco; safetensors, torchscript or onnx.", show_default=False),
    ] = None,
    split: Annotated[Part, typer.Option(help="Whose predictions.")] = "test",
    as_json: Json = False,
) -> None:
    """Write labels or predictions as images, scores as Parquet, or the model as files that other tools open.

    Example: `alframe export glands.yaml labels --format coco --output for-review`
    """
    from alframe import access, compose, config
    from alframe.report import exports
    from alframe.types import Split

    settings = config.load(file)
    folder = output or settings.workdir_path / kind
    options: dict[str, Any] = {} if format is None else {"format": format}
    if kind == "scores" and options:
        raise typer.BadParameter("scores are Parquet; leave --format out")
    pool, store = compose.open_pool(settings), compose.open_artifacts(settings)
    with access.ledger(settings) as ledger, watched() as observer:
        if kind == "labels":
            exports.labels(ledger, store, pool, settings.name, folder, **options)
        elif kind == "model":
            exports.model(ledger, store, settings.name, folder, **options)
        elif kind == "scores":
            exports.scores(ledger, store, settings.name, folder)
        else:
            items = [info.id for info in pool.items(Split(split))]
            options["progress"] = observer.counter("predicting")
            exports.predictions(pool, access.predictor(settings), items, folder, seed=settings.seed, **options)
    emit(as_json, {"folder": str(folder.absolute())}, f"Wrote {folder.absolute()}")


@app.command()
def doctor(
    folder: Annotated[Path, typer.Option(help="Where campaigns would be kept.", file_okay=False, exists=True)] = Path(),
    config: Annotated[
        Path | None, typer.Option(help="A campaign's YAML: its database and store, too.", show_default=False)
    ] = None,
    cluster: Annotated[
        bool,
        typer.Option(
            "--cluster", help="Every node of the Ray cluster, too: `--config` says which, else this machine's."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Check this machine: packages, CPU and GPU, disk, durability, SQLite, Ray, plug-ins; exit code 1 when something fails.

    Example: `alframe doctor --folder /data/campaigns`
    """
    from alframe.doctor import diagnose
    from alframe.terminal import checks_view

    checks = diagnose(folder)
    settings = None
    if config is not None:
        from alframe.config import load
        from alframe.surroundings import examine

        settings = load(config)
        checks += examine(settings)
    if cluster:
        from alframe import nodes

        checks += nodes.examine(settings)
    rows = [{"name": one.name, "state": one.state, "found": one.found, "advice": one.advice} for one in checks]
    emit(as_json, rows, checks_view(checks))
    raise typer.Exit(1 if any(one.state == "failed" for one in checks) else 0)


@plugins_app.command("list")
def plugins_list(as_json: Json = False) -> None:
    """List all plug-ins that are installed, and what is wrong with those that do not load.

    Example: `alframe plugins list`
    """
    from alframe import config
    from alframe.terminal import plugins_view

    found = config.plugins()
    rows = [
        {
            "group": p.group,
            "name": p.name,
            "target": p.target,
            "from": f"{p.distribution} {p.version}",
            "problem": p.problem,
        }
        for p in found
    ]
    emit(as_json, rows, plugins_view(found))


@database_app.command("upgrade")
def database_upgrade(file: File) -> None:
    """Bring the ledger of a campaign to the schema of this version.

    Example: `alframe db upgrade glands.yaml`
    """
    from alframe import access, config

    say(f"The ledger is at revision {access.upgrade(config.load(file))}.")


_INTERRUPTED = 130


def _code(error: AlframeError) -> int:
    if isinstance(error, LeaseHeld | FencedError):
        return 5
    if isinstance(error, ClusterUnavailable):
        return 6
    return 2 if isinstance(error, ProblemsError | InvalidValue | NotFound | ConflictError | ExtraMissing) else 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code (the console script hands it to the shell)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        app(args=given, prog_name="alframe")
    except SystemExit as ended:
        if ended.code == _INTERRUPTED and given[:1] != ["submit"]:  # its driver is elsewhere, and it has said so
            say("alframe: interrupted; `alframe resume FILE` goes on where it stands.")
        return ended.code if isinstance(ended.code, int) else 0
    except AlframeError as error:
        say(f"alframe: {error}")
        return _code(error)
    except OSError as error:
        say(f"alframe: {error}")
        return 1
    return 0
