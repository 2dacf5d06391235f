"""The verb that hands a campaign to a Ray cluster."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from alframe.cli_common import File, Json, emit, say, stopped_by_sigterm

__all__ = ["app"]

app = typer.Typer()


@app.command()
def submit(
    file: File,
    address: Annotated[
        str, typer.Option(envvar="RAY_API_SERVER_ADDRESS", help="The cluster's job server.")
    ] = "http://127.0.0.1:8265",
    wait: Annotated[bool, typer.Option("--wait", help="Where labels are missing, the job waits for them.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Print the job's id and leave it alone.")] = False,
    job: Annotated[str, typer.Option(help="Follow this job instead of handing one in.", show_default=False)] = "",
    as_json: Json = False,
) -> None:
    """Run a campaign as a job on a Ray cluster, show what it writes, and end with its exit code. Ctrl-C ends only the showing.

    Example: `alframe submit glands.yaml --address http://head:8265`
    """
    from alframe import config, submission
    from alframe.runtime.job_server import JobServer

    settings = config.load(file)
    server = JobServer(address)
    if not job:
        job, new = submission.hand_in(server, settings, wait=wait)
        say(f"{'Handed in' if new else 'Runs already'}: {job} at {address}")
    if detach:
        emit(as_json, {"job": job, "address": address}, job)
        return
    try:
        with stopped_by_sigterm():
            for text in server.follow(job):
                sys.stderr.write(text)
                sys.stderr.flush()
    except KeyboardInterrupt:
        say(
            f"The job goes on. Follow it: alframe submit {file} --address {address} --job {job}. End it: alframe stop {file}"
        )
        raise
    ended = server.ended(job)
    assert ended is not None, "followed to its end"
    code = submission.exit_code(ended)
    if ended.code is None:
        say(f"{job}: {ended.state}: {ended.reason}")
    found = {"job": job, "address": address, "state": ended.state, "exit_code": code}
    emit(as_json, found, f"{job}: {ended.state}, exit code {code}")
    raise typer.Exit(code)
