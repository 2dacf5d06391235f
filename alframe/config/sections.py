"""What a campaign's YAML may say, section by section; every field's description ends up in the reference and the JSON Schema."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    PlainSerializer,
    PrivateAttr,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from alframe import registry
from alframe.campaign.settings import Budget, Plateau, Target
from alframe.config.cluster import Ray
from alframe.config.mirror import STRICT, adapter, check, resolved
from alframe.errors import ExtraMissing, InvalidValue, NotFound
from alframe.hosts import is_internal
from alframe.storage.locations import locate
from alframe.strategies.opinions import Opinions

__all__ = ["SITES", "Config", "Evaluate", "Initial", "MetricsSettings", "Plugin", "Runtime", "Stop"]

SITES: dict[tuple[str, ...], str] = {
    ("learner",): "alframe.learners",
    ("strategy",): "alframe.strategies",
    ("initial", "strategy"): "alframe.strategies",
    ("oracle",): "alframe.oracles",
}
"""Where a configuration names a plug-in, and of which group."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """A chosen plug-in: its registered `type`, and the dataclass built from its parameters."""

    type: str
    value: Any

    def resolved(self) -> dict[str, Any]:
        """All parameters, defaults included, as the YAML would spell them."""
        return {"type": self.type, **resolved(self.value)}


def _fail(kind: str, message: str) -> PydanticCustomError:
    # braces would be read as a template
    return PydanticCustomError(kind, "{message}", {"message": message})


def _chosen(group: str) -> Any:
    """A field that holds a plug-in of `group`, checked against that plug-in's own parameters."""

    def build(value: Any) -> Any:
        if isinstance(value, Plugin):
            return value
        if not isinstance(value, Mapping):
            raise PydanticCustomError("dict_type", "a mapping with a key 'type'")
        known = [plugin.name for plugin in registry.available(group)]
        name = value.get("type")
        if not isinstance(name, str):
            raise PydanticCustomError("unknown_type", "unknown type", {"known": ", ".join(known)})
        try:
            cls = registry.find(group, name)
            if fault := check(cls):
                raise InvalidValue(f"the plug-in {name!r} is {fault}")
            return Plugin(type=name, value=adapter(cls, name).validate_json(json.dumps(value)))
        except NotFound as error:
            if name in known:
                raise _fail("plugin", str(error)) from error
            raise PydanticCustomError("unknown_type", "unknown type", {"known": ", ".join(known)}) from error
        except (ExtraMissing, InvalidValue) as error:
            raise _fail("plugin", str(error)) from error

    return Annotated[
        Plugin,
        BeforeValidator(build, json_schema_input_type=dict[str, Any]),
        PlainSerializer(lambda plugin: _plain(plugin.resolved()), return_type=dict[str, Any]),
    ]


def _plain(value: Any) -> Any:
    """Tuples and enums as JSON has them."""
    return json.loads(json.dumps(value))


def _mirrored(cls: type) -> Any:
    """A field that holds a plain dataclass."""

    def build(value: Any) -> Any:
        return value if isinstance(value, cls) else adapter(cls).validate_json(json.dumps(value))

    return Annotated[
        cls,
        BeforeValidator(build, json_schema_input_type=dict[str, Any]),
        PlainSerializer(lambda made: _plain(dataclasses.asdict(made)), return_type=dict[str, Any]),
    ]


_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


def _expanded(text: str) -> str:
    """``${NAME}`` and ``${NAME:-otherwise}`` replaced from the environment."""

    def value(match: re.Match[str]) -> str:
        found = os.environ.get(match[1]) or match[2]
        if found is None:
            raise _fail("agree", f"the environment variable {match[1]} to be set for root, or ${{{match[1]}:-FOLDER}}")
        return found

    return _VARIABLE.sub(value, text)


def _data(value: Any) -> Any:
    """Built where it is first needed, so that a configuration without data loads no reader."""
    from alframe.readers import DataSettings

    if isinstance(value, DataSettings):
        return value
    if isinstance(value, Mapping) and isinstance(value.get("root"), str):
        value = {**value, "root": _expanded(value["root"])}
    return adapter(DataSettings).validate_json(json.dumps(value))


_Data = Annotated[
    Any,
    BeforeValidator(_data, json_schema_input_type=dict[str, Any]),
    PlainSerializer(lambda made: made and _plain(dataclasses.asdict(made)), return_type=dict[str, Any] | None),
]


def _local(text: str) -> str:
    if "\0" in text or not text.strip():
        raise _fail("path", "a path of a local folder or file")
    scheme, separator, _ = text.partition("://")
    if separator:
        raise _fail("path", f"a local path (this release reads no {scheme}:// addresses)")
    return text


def _location(text: str) -> str:
    try:
        locate(text)
    except InvalidValue as error:
        raise _fail(
            "path", "a folder, file:///FOLDER, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX: " + str(error)
        ) from error
    return text


def _database(text: str) -> str:
    if "\0" in text or "::" in text.partition("?")[0]:
        raise _fail("url", "one database URL, not a chain of them")
    try:
        parts = urlsplit(text)
    except ValueError as error:
        raise _fail("url", f"a database URL ({error})") from error
    if parts.scheme == "sqlite":
        path = text.removeprefix("sqlite:///")
        if path == text or not path or "?" in path or ":memory:" in path:
            raise _fail("url", "sqlite:///FILE, a file that outlives the process")
    elif parts.scheme in ("postgresql", "postgresql+psycopg"):
        if parts.password is not None:
            raise _fail(
                "url", "a URL without a password (it would be stored and shown in reports): use ~/.pgpass or PGPASSWORD"
            )
        if not parts.path.strip("/"):
            raise _fail("url", "postgresql://HOST/DATABASE")
        if is_internal(parts.hostname or ""):
            raise _fail("url", "a database on a host that is not link-local")
    else:
        raise _fail("url", "sqlite:///FILE or postgresql://HOST/DATABASE")
    return text


SCOPES = ("val", "test", "acquired", "pool")
"""Where a round measures its model."""


@cache
def _metric_names() -> tuple[str, ...]:
    """What a round measures over all pixels and classes: the metrics a stop rule can follow."""
    from alframe.metrics import EvaluationState, MetricSpec, RaterSpec, RaterState, summarise, summarise_raters

    spec, raters = (
        MetricSpec(classes=("background", "object"), objects=True),
        RaterSpec(classes=("background", "object")),
    )
    rows = summarise(spec, EvaluationState.empty(spec)) + summarise_raters(raters, RaterState.empty(raters))
    return tuple(dict.fromkeys(row.name for row in rows if not row.label and row.statistic == "pooled"))


LocalPath = Annotated[str, AfterValidator(_local)]
Location = Annotated[str, AfterValidator(_location)]
DatabaseUrl = Annotated[str, AfterValidator(_database)]
Positive = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """Frozen; unknown keys and values of another type are errors."""

    model_config = STRICT


class Initial(Section):
    """Round 0: what is labelled before a model exists."""

    queries: Positive = Field(default=10, description="Queries of round 0.")
    strategy: _chosen("alframe.strategies") = Field(  # type: ignore[valid-type]
        default_factory=lambda: {"type": "random"},
        validate_default=True,
        description="Chooses them; must need no model.",
    )

    @field_validator("strategy")
    @classmethod
    def _without_model(cls, chosen: Plugin) -> Plugin:
        if chosen.value.needs_model:
            raise _fail("agree", f"a strategy that needs no model, such as random ({chosen.type} reads predictions)")
        return chosen


class Stop(Section):
    """Rules that end a campaign before its budget does."""

    target: _mirrored(Target) | None = Field(default=None, description="Stop when a metric reaches a value.")  # type: ignore[valid-type]
    plateau: _mirrored(Plateau) | None = Field(default=None, description="Stop when a metric no longer improves.")  # type: ignore[valid-type]

    @field_validator("target", "plateau")
    @classmethod
    def _measured(cls, rule: Target | Plateau | None) -> Target | Plateau | None:
        """A rule on a metric that no round computes would silently never fire."""
        if rule is not None:
            for key, known in (("metric", _metric_names()), ("scope", SCOPES)):
                if getattr(rule, key) not in known:
                    raise PydanticCustomError("unknown_name", "unknown name", {"key": key, "known": ", ".join(known)})
        return rule


class MetricsSettings(Section):
    """How calibration and objects are measured; fixed for the whole campaign so that its rounds compare."""

    bins: Annotated[int, Field(ge=2, le=1000)] = Field(default=10, description="Bins of a reliability diagram.")
    binning: Literal["equal_width", "equal_mass"] = Field(
        default="equal_width", description="How confidences fall into bins."
    )
    objects: bool | Literal["auto"] = Field(
        default="auto", description="Object metrics; auto = when the truth tells objects apart."
    )
    min_object: Annotated[int, Field(ge=0)] = Field(
        default=64, description="Predicted objects of fewer pixels are dropped."
    )
    both_empty: Literal["one", "nan"] = Field(
        default="one", description="Dice of a class in neither prediction nor truth: 1, or left out."
    )
    fusion: Literal["majority", "staple"] = Field(
        default="majority", description="How several raters' truth becomes one; STAPLE only where it applies."
    )
    raters: bool | Literal["auto"] = Field(
        default="auto", description="Also compare with each rater (GED², NCC, …); auto = when the truth has several."
    )
    samples: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=50, description="Samples behind GED²; its values depend on their number."
    )


class Evaluate(Section):
    """What is measured besides the validation and test splits and the acquired queries."""

    pool: bool = Field(
        default=True, description="Also measure the pixels nobody annotated yet against the ingested truth."
    )
    panels: Annotated[int, Field(ge=0, le=100)] = Field(
        default=4, description="Test images, and as many queries a round, whose maps are kept for the report."
    )


class Runtime(Section):
    """On what the work runs."""

    threads: Positive = Field(default=1, description="Torch threads a worker (part of the result's last bits).")
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="auto = cuda where there is one; on a cluster, where workers get GPUs."
    )
    precision: Literal["fp32", "bf16", "fp16"] = Field(default="fp32", description="Arithmetic on a GPU.")
    range: Positive = Field(default=16, description="Items a scoring job.")
    lease_seconds: Annotated[float, Field(ge=5)] = Field(
        default=60.0, description="A driver silent for this long may be replaced."
    )
    snapshot_seconds: Annotated[float, Field(ge=0)] = Field(
        default=60.0,
        description="A training that takes longer leaves its progress in the store this often, and goes on from there.",
    )

    @model_validator(mode="after")
    def _agree(self) -> Runtime:
        if self.device == "cpu" and self.precision != "fp32":
            raise _fail("agree", "precision: fp32 with device cpu (or device: cuda)")
        return self


def _check_team(learner: Plugin, count: int) -> None:
    """Whether `count` processes can train a member of this learner together."""
    if not getattr(learner.value, "works_in_teams", False):
        raise _fail("agree", f"member_workers: 1, because {learner.type}, as it is set, trains in one process")
    size = getattr(getattr(learner.value, "training", None), "batch_size", count)
    if size % count:
        raise _fail("agree", f"member_workers that divide the learner's batch_size of {size}")


class Config(Section):
    """One campaign."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,79}$", description="The campaign's name in the ledger.")
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(default=0, description="Fixes every random draw.")
    workdir: LocalPath = Field(
        default="", validate_default=False, description="Folder of the campaign; default runs/NAME."
    )
    data: _Data | None = Field(default=None, description="What `ingest` reads; its paths are relative to the YAML.")
    pool: Location = Field(
        default="pool.zarr",
        description="The ingested pool: a folder in workdir, or an address such as s3://BUCKET/PREFIX.",
    )
    ledger: DatabaseUrl = Field(
        default="sqlite:///ledger.db", description="The SQL record; a SQLite file is in workdir."
    )
    store: Location = Field(
        default="artifacts",
        description="Checkpoints, masks and scores: a folder in workdir, or an address such as s3://BUCKET/PREFIX.",
    )
    learner: _chosen("alframe.learners") = Field(description="What is trained each round.")  # type: ignore[valid-type]
    strategy: _chosen("alframe.strategies") = Field(description="What chooses the queries.")  # type: ignore[valid-type]
    initial: Initial = Field(default_factory=Initial, description="Round 0.")
    batch: Positive = Field(description="Queries a round.")
    replicas: Positive = Field(default=1, description="Independent answers wanted for each query.")
    oracle: _chosen("alframe.oracles") = Field(description="Who answers.")  # type: ignore[valid-type]
    raters: _mirrored(Opinions) = Field(  # type: ignore[valid-type]
        default_factory=dict, validate_default=True, description="Whom to ask, and when to ask another one."
    )
    budget: _mirrored(Budget) = Field(description="What may be spent; at least one limit.")  # type: ignore[valid-type]
    stop: Stop = Field(default_factory=Stop, description="Earlier ends.")
    metrics: MetricsSettings = Field(default_factory=MetricsSettings, description="How results are measured.")
    evaluate: Evaluate = Field(default_factory=Evaluate, description="What else is measured.")
    runtime: Runtime = Field(default_factory=Runtime, description="On what it runs.")
    ray: Ray | None = Field(
        default=None, description="Workers on Ray; without this section all work is done in the calling process."
    )

    _folder: Path = PrivateAttr(default_factory=Path)

    @field_validator("ray")
    @classmethod
    def _equipped(cls, ray: Ray | None, info: ValidationInfo) -> Ray | None:
        """Workers that have what `runtime.device` says; a worker without a GPU sees none."""
        device = info.data["runtime"].device if "runtime" in info.data else "auto"
        if ray is not None and ray.gpus and device == "cpu":
            raise _fail("agree", "gpus: 0 for fit and score with runtime.device: cpu (or device: cuda)")
        if ray is not None and ray.gpus == 0 and device == "cuda":
            raise _fail("agree", "GPUs for fit and score with runtime.device: cuda (or device: cpu)")
        if ray is not None and ray.member_workers > 1 and "learner" in info.data:
            _check_team(info.data["learner"], ray.member_workers)
        return ray

    @field_validator("budget")
    @classmethod
    def _limited(cls, budget: Budget) -> Budget:
        names = [field.name for field in dataclasses.fields(budget)]
        if all(getattr(budget, name) is None for name in names):
            raise _fail("budget", f"at least one limit: {', '.join(names)}")
        return budget

    @field_validator("raters")
    @classmethod
    def _askable(cls, wanted: Opinions, known: ValidationInfo) -> Opinions:
        """What the policy asks for must be there to be asked; what is wrong elsewhere is said there."""
        oracle = known.data["oracle"].value if "oracle" in known.data else None
        people, replicas = getattr(oracle, "people", False), known.data.get("replicas", 1)
        if wanted.again > known.data.get("batch", wanted.again):
            raise _fail("agree", f"again of at most the batch, {known.data['batch']}")
        if people and not wanted.names and (wanted.again or wanted.first != "anyone"):
            raise _fail("agree", "names, since people answer and somebody is to be picked among them")
        if people and wanted.again and getattr(oracle, "replicas", 1) > 1:
            raise _fail("agree", "again: 0, or oracle.replicas: 1, since another opinion is one rater's")
        if wanted.names and len(wanted.names) < replicas:
            raise _fail("agree", f"at least {replicas} names, as many as replicas")
        return wanted

    def model_post_init(self, context: Any, /) -> None:
        """Remember the folder that paths are relative to (the YAML's)."""
        if isinstance(context, Mapping) and "folder" in context:
            self._folder = Path(context["folder"])
        if not self.workdir:
            object.__setattr__(self, "workdir", f"runs/{self.name}")

    @property
    def folder(self) -> Path:
        """Where the YAML is; `workdir` and the paths of `data` are relative to it."""
        return self._folder.absolute()

    @property
    def workdir_path(self) -> Path:
        """`workdir`, absolute."""
        return self.folder / self.workdir

    @property
    def pool_path(self) -> Path | str:
        """The pool's folder, absolute, or its address in an object store."""
        return locate(self.pool, self.workdir_path)

    @property
    def store_path(self) -> Path | str:
        """The artifact store's folder, absolute, or its address in an object store."""
        return locate(self.store, self.workdir_path)

    @property
    def ledger_url(self) -> str:
        """The ledger's URL with an absolute SQLite path."""
        if not self.ledger.startswith("sqlite:///"):
            return self.ledger
        return f"sqlite:///{self.workdir_path / self.ledger.removeprefix('sqlite:///')}"
