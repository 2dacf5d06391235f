"""The files of deploy/: linted by their own tools, checked against documented schemas, and their commands against our own CLI."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pytest
import typer
from pydantic import BaseModel, ConfigDict, Field
from ray.scripts.symmetric_run import curate_and_validate_ray_start_args
from ruamel.yaml import YAML

from alframe import config
from alframe.cli import app

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE, RAYJOB, SBATCH = (
    DEPLOY / "Dockerfile",
    DEPLOY / "kuberay" / "rayjob.yaml",
    DEPLOY / "slurm" / "alframe.sbatch",
)


def tool(name: str) -> str:
    """The path of a linter of the extra `test`, or a skip."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        pytest.skip(f"needs {name}: pip install 'alframe[test]'")
    return found


def parses(command: list[str]) -> str:
    """The verb of an alframe command that our own command line accepts. Raises UsageError when it does not."""
    assert command[0] == "alframe"
    group = typer.main.get_command(app)
    with group.make_context("alframe", command[1:]) as context:
        name, verb, rest = group.resolve_command(context, context._protected_args + context.args)  # type: ignore[attr-defined]
        with verb.make_context(name, rest, parent=context):
            return str(name)


def pinned(package: str) -> str:
    """A version of constraints.txt."""
    found = re.search(rf"^{package}==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert found
    return found[1]


def test_the_dockerfile_is_clean() -> None:
    run = subprocess.run([tool("hadolint"), str(DOCKERFILE)], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "")


def test_hadolint_would_object(tmp_path: Path) -> None:
    """So that a clean file means something."""
    bad = tmp_path / "Dockerfile"
    bad.write_text(DOCKERFILE.read_text().replace("# hadolint ignore=DL3008\n", ""))
    run = subprocess.run([tool("hadolint"), str(bad)], capture_output=True, text=True, check=False)
    assert "DL3008" in run.stdout


def test_the_image_gets_what_is_there_and_the_extras_exist() -> None:
    """What is copied exists and passes the ignore file, nothing else does; the commands install extras that we have."""
    text = DOCKERFILE.read_text()
    allowed = [line[1:] for line in Path(f"{DOCKERFILE}.dockerignore").read_text().split() if line.startswith("!")]
    copied = [
        part.removeprefix("./")
        for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE)
        for part in shlex.split(line)[:-1]
    ]
    assert sorted(copied) == sorted(allowed)
    assert all((ROOT / name).exists() for name in copied)
    project = (ROOT / "pyproject.toml").read_text()
    (extras,) = re.findall(r"'\.\[(.+?)\]'", text)
    assert all(re.search(rf"^{extra} = \[", project, re.MULTILINE) for extra in extras.split(","))
    (python,) = re.findall(r"^ARG PYTHON=(.+)$", text, re.MULTILINE)
    assert f'requires-python = ">={python}"' in project
    (command,) = re.findall(r"^CMD (.+)$", text, re.MULTILINE)
    assert command == '["alframe", "--help"]'


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class AuthOptions(Strict):
    mode: Literal["token", "disabled"]
    secretName: str = ""  # noqa: N815


class Group(Strict):
    """What head and workers share."""

    rayStartParams: dict[str, str]  # noqa: N815
    template: dict[str, Any]
    labels: dict[str, str] = {}
    resources: dict[str, str] = {}


class Head(Group):
    serviceType: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"  # noqa: N815
    enableIngress: bool = False  # noqa: N815


class Workers(Group):
    groupName: str  # noqa: N815
    replicas: int = Field(ge=0)
    minReplicas: int = Field(ge=0)  # noqa: N815
    maxReplicas: int = Field(ge=0)  # noqa: N815
    numOfHosts: int = Field(default=1, ge=1)  # noqa: N815


class Cluster(Strict):
    rayVersion: str  # noqa: N815
    authOptions: AuthOptions  # noqa: N815
    headGroupSpec: Head  # noqa: N815
    workerGroupSpecs: list[Workers]  # noqa: N815
    enableInTreeAutoscaling: bool = False  # noqa: N815


class Submitter(Strict):
    backoffLimit: int = Field(ge=0)  # noqa: N815


class Job(Strict):
    """The fields of RayJobSpec in KubeRay's reference that a campaign may need."""

    entrypoint: str
    rayClusterSpec: Cluster  # noqa: N815
    submissionMode: Literal["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"] = "K8sJobMode"  # noqa: N815
    submitterConfig: Submitter  # noqa: N815
    backoffLimit: int = Field(ge=0)  # noqa: N815
    activeDeadlineSeconds: int | None = Field(default=None, ge=1)  # noqa: N815
    shutdownAfterJobFinishes: bool  # noqa: N815
    ttlSecondsAfterFinished: int = Field(ge=0)  # noqa: N815


@pytest.fixture(scope="module")
def documents() -> dict[str, Any]:
    """Kind → document of the manifest."""
    found = list(YAML(typ="safe").load_all(RAYJOB.read_text()))
    return {document["kind"]: document for document in found}


@pytest.fixture(scope="module")
def job(documents: dict[str, Any]) -> Job:
    assert documents["RayJob"]["apiVersion"] == "ray.io/v1"
    return Job.model_validate(documents["RayJob"]["spec"])


@pytest.fixture(scope="module")
def campaign(documents: dict[str, Any]) -> config.Config:
    text = documents["ConfigMap"]["data"]["campaign.yaml"]
    return config.loads(text, name="campaign.yaml", folder=Path("/campaign"))


def test_pods_and_the_config_map_are_what_kubernetes_accepts(documents: dict[str, Any], job: Job) -> None:
    kubernetes = pytest.importorskip("kubernetes_validate", reason="needs kubernetes-validate")
    version = kubernetes.latest_version()
    kubernetes.validate(documents["ConfigMap"], version, strict=True)
    groups = [job.rayClusterSpec.headGroupSpec, *job.rayClusterSpec.workerGroupSpecs]
    for group in groups:
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": group.template["spec"]}
        kubernetes.validate(pod, version, strict=True)
    pod["spec"]["containers"][0]["envForm"] = []
    with pytest.raises(kubernetes.ValidationError, match="envForm"):
        kubernetes.validate(pod, version, strict=True)
    del pod["spec"]["containers"][0]["envForm"]


def test_the_job_runs_its_campaign_on_the_cluster_that_it_asks_for(
    documents: dict[str, Any], job: Job, campaign: config.Config
) -> None:
    cluster = job.rayClusterSpec
    assert cluster.rayVersion == pinned("ray")
    assert cluster.authOptions.mode == "token"
    command = shlex.split(job.entrypoint)
    assert parses(command) == "run"
    (mount,) = (m for c in cluster.headGroupSpec.template["spec"]["containers"] for m in c["volumeMounts"])
    (volume,) = cluster.headGroupSpec.template["spec"]["volumes"]
    assert volume["name"] == mount["name"]
    assert volume["configMap"]["name"] == documents["ConfigMap"]["metadata"]["name"]
    assert command[2] == f"{mount['mountPath']}/{next(iter(documents['ConfigMap']['data']))}"
    assert campaign.ray is not None
    assert campaign.ray.address == "auto"
    assert campaign.ledger_url.startswith("postgresql")
    (workers,) = cluster.workerGroupSpecs
    assert workers.minReplicas <= workers.replicas <= workers.maxReplicas
    limits = workers.template["spec"]["containers"][0]["resources"]["limits"]
    for share in (campaign.ray.fit, campaign.ray.score):
        assert share.cpus <= float(limits["cpu"])
        assert share.gpus <= float(limits["nvidia.com/gpu"])
    assert campaign.ray.workers <= workers.maxReplicas
    assert campaign.ray.min_workers <= workers.minReplicas


def test_the_batch_script_is_clean() -> None:
    subprocess.run(["bash", "-n", str(SBATCH)], check=True)
    run = subprocess.run([tool("shellcheck"), str(SBATCH)], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "")


# in place of SLURM: srun runs its command here and tells what it was; `ray symmetric-run` is not started (it stops every Ray on
# the machine when it ends), but its arguments go through its own parser in the test
SRUN = """#!/usr/bin/env bash
printf '%s\\n' "$@" >"$RECORD/srun"
cp "$RAY_AUTH_TOKEN_PATH" "$RECORD/token"
stat -c %a "$RAY_AUTH_TOKEN_PATH" >"$RECORD/mode"
while [[ $1 != -- ]]; do shift; done
shift
if [[ -n ${LOST:-} ]]; then exit 0; fi
if [[ -n ${SIGNAL:-} ]]; then kill -USR1 "$PPID"; until grep -q ^stop "$RECORD/alframe"; do sleep 0.05; done; fi
"$@"
"""
SCONTROL = """#!/usr/bin/env bash
printf '%s\\n' "$*" >>"$RECORD/scontrol"
if [[ $1 == show ]]; then printf 'node7\\nnode8\\n'; fi
"""
ALFRAME = """#!/usr/bin/env bash
printf '%s\\n' "$*" >>"$RECORD/alframe"
if [[ $1 == run ]]; then exit "$CODE"; fi
"""


def submit(folder: Path, code: int, **more: str) -> int:
    """Run the batch script as SLURM would, with a driver that ends with `code`; its exit code."""
    programs = folder / "bin"
    programs.mkdir()
    for name, text in {"srun": SRUN, "scontrol": SCONTROL, "alframe": ALFRAME}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (folder / "campaign.yaml").touch()
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(folder),
        "ALFRAME_VENV": str(folder),
        "RECORD": str(folder),
        "CODE": str(code),
        "SLURM_JOB_ID": "123456",
        "SLURM_JOB_NODELIST": "node[7-8]",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_CPUS_PER_TASK": "16",
        **more,
    }
    return subprocess.run([str(SBATCH), "campaign.yaml"], cwd=folder, env=environment, check=False).returncode


@pytest.mark.parametrize("code", [0, 3])
def test_the_batch_script_ends_as_its_driver_does(tmp_path: Path, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert submit(tmp_path, code, SLURM_GPUS_ON_NODE="4") == code
    asked = (tmp_path / "srun").read_text().splitlines()
    start = asked.index("symmetric-run")
    assert asked[start - 1] == "ray"
    monkeypatch.setattr(sys, "argv", ["ray", *asked[start:]])
    options = asked[start + 1 : asked.index("--")]
    assert options[:4] == ["--address", "node7:23456", "--min-nodes", "2"]
    assert curate_and_validate_ray_start_args(options) == ["--num-cpus=16", "--num-gpus=4"]
    for line in (tmp_path / "alframe").read_text().splitlines():
        assert parses(["alframe", *line.split()]) in ("validate", "run")
    assert re.fullmatch("[0-9a-f]{64}", (tmp_path / "token").read_text())
    assert (tmp_path / "mode").read_text().strip() == "600"
    assert (tmp_path / "scontrol").read_text().splitlines() == ["show hostnames node[7-8]"]
    assert not list(tmp_path.glob(".alframe-job-*")), "the token is gone with the job"


def test_a_job_that_runs_out_of_time_stops_its_campaign_and_is_queued_again(tmp_path: Path) -> None:
    assert submit(tmp_path, 0, SIGNAL="1") == 0
    verbs = [parses(["alframe", *line.split()]) for line in (tmp_path / "alframe").read_text().splitlines()]
    assert verbs == ["validate", "stop", "run"]
    assert (tmp_path / "scontrol").read_text().splitlines()[-1] == "requeue 123456"


def test_a_job_whose_driver_never_began_fails(tmp_path: Path) -> None:
    """Ray's command ends with 0 when its head does not start."""
    assert submit(tmp_path, 0, LOST="1") == 1


def test_directives_are_sbatchs_own_and_come_before_any_command() -> None:
    known = [
        "job-name",
        "nodes",
        "ntasks-per-node",
        "cpus-per-task",
        "time",
        "requeue",
        "open-mode",
        "signal",
        "exclusive",
    ]
    lines = SBATCH.read_text().splitlines()
    found = [number for number, line in enumerate(lines) if line.startswith("#SBATCH")]
    assert all(lines[number].removeprefix("#SBATCH --").partition("=")[0] in known for number in found)
    assert all(line.startswith("#") for line in lines[: found[-1]])
