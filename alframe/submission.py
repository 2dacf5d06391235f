"""A campaign handed to a Ray cluster as a job: its driver runs on the head, this machine may go away meanwhile."""

from __future__ import annotations

import dataclasses
import secrets
import shlex
import tempfile
from pathlib import Path

from alframe import workers
from alframe.config import Config, to_yaml
from alframe.errors import ConfigurationError, Problem
from alframe.runtime.job_server import Ended, JobServer

__all__ = ["exit_code", "hand_in", "portable"]

_FILE = "campaign.yaml"
_LABEL = "alframe.campaign"
_INTERRUPTED, _LOST = 130, 6


def portable(config: Config) -> Config:
    """The same campaign, read from any folder and run on the cluster that it is handed to.

    Raises:
        ConfigurationError: when it has no section `ray`, or its ledger is an SQLite file, which one machine alone can use.
    """
    if config.ray is None:
        hint = "Say how many workers it gets, such as `ray: {address: auto, workers: 4}`"
        raise ConfigurationError(
            [Problem(where=f"campaign {config.name}", expected="a section `ray`", found="none", hint=hint)]
        )
    changed = {"workdir": str(config.workdir_path), "ray": config.ray.model_copy(update={"address": "auto"})}
    if config.data is not None:
        changed["data"] = dataclasses.replace(config.data, root=str(config.folder / config.data.root))
    sent = config.model_copy(update=changed)
    workers.check_hosts(sent)
    return sent


def hand_in(server: JobServer, config: Config, *, wait: bool) -> tuple[str, bool]:
    """The id of the job that drives the campaign on a cluster, and whether it is new: one that runs there already is taken.

    Only the YAML travels, with absolute paths, and the variables that `ray.forward` and `ray.variables` name.

    Raises:
        ConfigurationError: when there is no section `ray`, or a variable that it forwards is not set.
        ClusterUnavailable: when the job server cannot be reached.
    """
    sent = portable(config)
    assert sent.ray is not None
    variables = workers.environment(sent.ray)
    labels = {_LABEL: config.name}
    if (job := server.running(labels)) is not None:
        return job, False
    job = f"alframe-{config.name}-{secrets.token_hex(4)}"
    command = shlex.join(["alframe", "run", _FILE, *(["--wait"] if wait else [])])
    with tempfile.TemporaryDirectory(prefix="alframe-submit-") as folder:
        (Path(folder) / _FILE).write_text(to_yaml(sent), encoding="utf-8")
        server.hand_in(job, Path(folder), command, labels=labels, variables=variables)
    return job, True


def exit_code(ended: Ended) -> int:
    """What a shell is told of a job: its command's own code where there is one."""
    if ended.state == "STOPPED":
        return _INTERRUPTED
    if ended.code is None:
        return _LOST
    return ended.code if ended.code >= 0 else 128 - ended.code
