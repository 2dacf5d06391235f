"""The section `ray` of a campaign's YAML: which cluster, how many workers, and what each of them gets."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError

from alframe.config.mirror import STRICT

__all__ = ["Ray", "Worker"]

_FIXED = ("CPU", "GPU", "memory", "object_store_memory")


def _whole_above_one(gpus: float) -> float:
    if gpus > 1 and gpus != int(gpus):
        raise PydanticCustomError("agree", "a share from 0 to 1, or a whole number of GPUs")
    return gpus


def _custom(resources: dict[str, float]) -> dict[str, float]:
    for name in resources:
        if name in _FIXED or not name.strip():
            raise PydanticCustomError(
                "agree", "names that the cluster gave to its nodes; cpus, gpus and memory have keys"
            )
    return resources


def _address(text: str) -> str:
    if "://" in text or not text.strip() or " " in text:
        raise PydanticCustomError(
            "agree", "local, auto or HOST:PORT (from outside a cluster use `alframe submit`, not a ray:// address)"
        )
    return text


Amount = Annotated[float, Field(gt=0)]
Gpus = Annotated[float, Field(ge=0, le=8), AfterValidator(_whole_above_one)]


class Worker(BaseModel):
    """What one worker gets, and how long one of its tasks may take."""

    model_config = STRICT

    cpus: Amount | None = Field(default=None, description="CPUs; null = `runtime.threads`.")
    gpus: Gpus | None = Field(
        default=None,
        description="GPUs, or a fraction of one; null = 1 with `device: cuda`, here on one machine its GPUs shared out, else 0.",
    )
    memory: Amount | None = Field(
        default=None, description="GiB that a node must have free for it; Ray places by it and enforces nothing."
    )
    resources: Annotated[dict[str, Amount], AfterValidator(_custom)] = Field(
        default_factory=dict, description="Custom resources of the cluster's nodes, by name."
    )
    deadline: Amount | None = Field(
        default=None, description="Seconds a task may run before it is stopped and tried again."
    )


class Ray(BaseModel):
    """Workers on this machine or on a cluster."""

    model_config = STRICT

    address: Annotated[str, AfterValidator(_address)] = Field(
        default="local", description="local, auto (the cluster that this machine is part of) or its head's HOST:PORT."
    )
    workers: Annotated[int, Field(ge=1)] = Field(
        default=1,
        description="Workers at most; each starts as soon as a node has room for it, nodes that join later too.",
    )
    min_workers: Annotated[int, Field(ge=1)] = Field(
        default=1, description="With fewer than these for `start_deadline` seconds a run fails."
    )
    member_workers: Annotated[int, Field(ge=1)] = Field(
        default=1,
        description="Workers that train one member together, with gradients over NCCL or gloo; each has a share of every batch.",
    )
    fit: Worker = Field(default_factory=Worker, description="What trains a member.")
    score: Worker = Field(default_factory=Worker, description="What scores, explains or evaluates a part of the pool.")
    placement: Literal["spread", "pack"] = Field(
        default="spread", description="spread: over all nodes; pack: half of a node's resources before the next node."
    )
    attempts: Annotated[int, Field(ge=1)] = Field(
        default=3, description="How often a task may lose its worker; lost nodes count apart."
    )
    start_deadline: Amount = Field(default=600.0, description="Seconds that workers may take to start.")
    variables: dict[str, str] = Field(
        default_factory=dict, description="Environment variables of the workers; they are stored with the campaign."
    )
    forward: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default=(), description="Environment variables handed on from the driver, such as credentials of the store."
    )

    @model_validator(mode="after")
    def _agree(self) -> Ray:
        if self.min_workers > self.workers:
            raise PydanticCustomError("agree", "min_workers no greater than workers")
        if self.member_workers > 1 and (self.fit.gpus or 0) % 1:
            raise PydanticCustomError("agree", "whole GPUs for fit, because member_workers is above 1")
        if (self.fit.gpus is None) != (self.score.gpus is None) or bool(self.fit.gpus) != bool(self.score.gpus):
            raise PydanticCustomError("agree", "GPUs for fit and score alike: for both, or for neither")
        return self

    @property
    def gpus(self) -> float | None:
        """A worker's GPUs where they are given: what says whether the campaign computes on GPUs."""
        return self.score.gpus
