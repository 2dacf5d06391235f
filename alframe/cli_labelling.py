"""The verbs of human labelling: who may label, and what happened."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from alframe.cli_common import File, Json, emit, say
from alframe.errors import InvalidValue

__all__ = ["audit_app", "raters_app"]

raters_app = typer.Typer(help="Who may label.", no_args_is_help=True)
audit_app = typer.Typer(help="Everything that happened to tasks, labels and raters.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The rater's name, as reports show it.", show_default=False)]


@raters_app.command("add")
def raters_add(
    file: File,
    name: Name,
    scope: Annotated[
        list[str] | None, typer.Option(help="annotate, review or admin; may be repeated. Default: annotate.")
    ] = None,
    days: Annotated[float | None, typer.Option(help="How long the secret holds; default 90, an invite 7.")] = None,
    invite: Annotated[
        bool, typer.Option("--invite", help="A secret for one use in a browser instead of a token.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Add a rater, or give one new scopes, and print a new secret; it is shown this once.

    Example: `alframe raters add glands.yaml "Dr. Anna Weber" --scope annotate --scope review`
    """
    from alframe import compose, config
    from alframe.labelling import Roster, Scope

    granted = scope or ["annotate"]
    if unknown := [one for one in granted if one not in list(Scope)]:
        raise typer.BadParameter(f"expected annotate, review or admin, got {unknown[0]!r}", param_hint="--scope")
    settings = config.load(file)
    seconds = 86400.0 * (days if days is not None else 7 if invite else 90)
    with compose.open_labelling(settings) as labelling:
        roster = Roster(labelling)
        rater = roster.add(name, *map(Scope, granted))
        secret = roster.invite(name, seconds=seconds) if invite else roster.token(name, seconds=seconds)
    kind = "invite" if invite else "token"
    scopes = sorted(rater.scopes)
    link = _link(settings.workdir_path, secret) if invite else None
    linked = {} if link is None else {"url": link}
    emit(as_json, {"rater": name, "scopes": scopes, kind: secret, "seconds": seconds, **linked}, link or secret)
    if not as_json:
        what = "link, for one browser" if link else kind
        say(f"This is {name}'s {what} ({', '.join(scopes)}), good for {seconds / 86400:g} days. It is not shown again.")
    if invite and not link and not as_json:
        say(
            "No server runs here (`alframe label serve`): the link is its address followed by /#invite= and this secret."
        )


def _link(folder: Path, secret: str) -> str | None:
    """The address that redeems an invite at the server that runs for this campaign; None when there is none."""
    from alframe.annotator import address_of

    served = address_of(folder)
    return None if served is None else served.invitation(secret)


@raters_app.command("list")
def raters_list(file: File, as_json: Json = False) -> None:
    """List all raters, and how much each has handed in to this campaign.

    Example: `alframe raters list glands.yaml`
    """
    from alframe import access, config
    from alframe.terminal import rows_view

    settings = config.load(file)
    with access.labelling(settings) as labelling:
        handed = [one.rater for one in labelling.submissions(settings.name)]
        raters = labelling.raters()
    rows: list[dict[str, Any]] = [
        {
            "rater": one.name,
            "scopes": sorted(one.scopes),
            "identity": "asserted" if one.asserted else "proven",
            "submissions": handed.count(one.name),
            "since": one.created,
            "revoked": one.revoked,
        }
        for one in raters
    ]
    emit(as_json, rows, rows_view(rows) if rows else "No raters yet: `alframe raters add`.")


@raters_app.command("revoke")
def raters_revoke(file: File, name: Name) -> None:
    """Refuse a rater from now on, and give back what is leased; submissions stay.

    Example: `alframe raters revoke glands.yaml "Dr. Anna Weber"`
    """
    from alframe import access, config
    from alframe.labelling import Roster

    with access.labelling(config.load(file)) as labelling:
        Roster(labelling).revoke(name)
    say(f"{name} is refused from now on. What was submitted stays.")


@audit_app.command("verify")
def audit_verify(
    file: File,
    head: Annotated[
        str | None, typer.Option(help="SEQUENCE:HASH as `audit export` printed it, kept elsewhere.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Follow the chain of events and compare every submission and mask with it; exit code 1 when something does not fit.

    Example: `alframe audit verify glands.yaml`
    """
    from alframe import access, compose, config
    from alframe.labelling import verify

    settings = config.load(file)
    expected = None if head is None else _head(head)
    with access.labelling(settings) as labelling:
        found = verify(labelling, compose.open_artifacts(settings), expected=expected)
    said = f"{found.head.sequence}:{found.head.hash}"
    numbers = {"events": found.events, "submissions": found.submissions, "masks": found.masks}
    verdict = "Nothing was changed." if not found.problems else "\n".join(found.problems)
    text = f"{found.events} events, {found.submissions} submissions, {found.masks} masks. {verdict}\nHead: {said}"
    emit(as_json, {**numbers, "head": said, "problems": list(found.problems)}, text)
    raise typer.Exit(1 if found.problems else 0)


def _head(text: str) -> Any:
    from alframe.labelling import Head

    sequence, _, digest = text.partition(":")
    if not sequence.isdecimal() or len(digest) != 64:
        raise InvalidValue(f"a head is SEQUENCE:HASH, got {text!r}")
    return Head(sequence=int(sequence), hash=digest)


@audit_app.command("export")
def audit_export(
    file: File,
    output: Annotated[
        Path | None, typer.Option(help="The folder; default audit in workdir.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Write all events, and one line for every label: rater, time, task, pre-fill, model, score and pool version.

    Example: `alframe audit export glands.yaml --output for-the-archive`
    """
    from alframe import access, config
    from alframe.report.audit import write_audit

    settings = config.load(file)
    folder = output or settings.workdir_path / "audit"
    with access.ledger(settings) as ledger, access.labelling(settings) as labelling:
        head = write_audit(labelling, ledger, settings.name, folder)
    said = f"{head.sequence}:{head.hash}"
    emit(as_json, {"folder": str(folder.absolute()), "head": said}, f"Wrote {folder.absolute()}\nHead: {said}")
    if not as_json:
        say("Keep the head where nobody who can write to the ledger can write: `alframe audit verify --head` needs it.")
