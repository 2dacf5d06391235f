"""What lives in Ray's processes: workers that hold a context, and owners of an object with a single writer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from alframe.errors import TaskFailed
from alframe.runtime.failures import describe
from alframe.runtime.peaks import Recorder, out_of_memory, told
from alframe.runtime.shares import Share
from alframe.runtime.threads import limited_threads, thread_environment
from alframe.runtime.witness import Berth, berth, peak_file

__all__ = ["Crew", "Owned", "Terms", "Worker", "own"]

_GPU_VARIABLES = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
_STRATEGIES = {"spread": "SPREAD", "pack": "DEFAULT"}
"""Ray's default fills half of a node before it takes the next."""


class Worker:
    """Runs tasks one after another. Holds the function and context of each run that is under way."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._parcels: dict[str, tuple[Callable[[Any, Any], Any], Any]] = {}
        self._recorder = Recorder(peak_file())

    def load(self, run: str, parcel: tuple[Callable[[Any, Any], Any], Any]) -> Berth:
        """Keep what the tasks of `run` need, and say where this is. Ray has fetched the one copy that the object store holds."""
        self._parcels[run] = parcel
        return berth()

    def work(self, run: str, task: Any) -> Any:
        """One task of `run`."""
        function, context = self._parcels[run]
        with limited_threads(self._threads), self._recorder.watching():
            try:
                return function(context, task)
            except (MemoryError, RuntimeError) as error:
                if out_of_memory(error):
                    error.add_note(told())
                raise

    def drop(self, run: str) -> None:
        """Forget `run`."""
        self._parcels.pop(run, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How workers are made: their share, threads, placement (``spread`` or ``pack``) and environment variables."""

    share: Share
    threads: int
    placement: str
    environment: Mapping[str, str]

    def variables(self) -> dict[str, str]:
        """The environment variables of a worker's process."""
        # failpoints are the driver's
        environment = {**self.environment, **thread_environment(self.threads), "ALFRAME_FAILPOINT": ""}
        if not self.share.gpus:  # Ray leaves every GPU visible to an actor that asked for none
            environment |= dict.fromkeys(_GPU_VARIABLES, "")
        return environment

    def spawn(self) -> Any:
        """A new worker actor. Ray neither restarts it nor repeats its calls: the run counts attempts itself."""
        share = self.share
        return (
            ray.remote(Worker)
            .options(
                num_cpus=share.cpus,
                num_gpus=share.gpus,
                memory=share.memory,
                resources=dict(share.resources),
                max_restarts=0,
                max_task_retries=0,
                scheduling_strategy=_STRATEGIES[self.placement],
                runtime_env={"env_vars": self.variables()},
            )
            .remote(self.threads)
        )


class Crew:
    """The worker actors of one share, by place. They stay warm between runs; an empty place is filled when needed."""

    def __init__(self, size: int, terms: Terms) -> None:
        self.terms = terms
        self.closed = False
        self.runs = 0
        self._actors: list[Any] = [None] * size

    def __len__(self) -> int:
        return len(self._actors)

    def filled(self, place: int) -> bool:
        """Whether a worker is at `place` already."""
        return self._actors[place] is not None

    def at(self, place: int) -> Any:
        """The worker at `place`."""
        if self._actors[place] is None:
            self._actors[place] = self.terms.spawn()
        return self._actors[place]

    def dismiss(self, place: int, actor: Any) -> None:
        """End `actor` at once; the next :meth:`at` finds a new one."""
        ray.kill(actor)
        if self._actors[place] is actor:
            self._actors[place] = None

    def rest(self) -> None:
        """Make room for workers of another share: end all, unless a run is open on them."""
        if self.runs == 0:
            for place, actor in enumerate(self._actors):
                if actor is not None:
                    self.dismiss(place, actor)

    def close(self) -> None:
        """End all workers."""
        self.closed = True
        self.runs = 0
        self.rest()


class Owner:
    """Holds one object and calls its methods one at a time, in the order in which the calls arrive."""

    def __init__(self) -> None:
        self._object: Any = None

    def build(self, factory: Callable[[], Any]) -> frozenset[str]:
        """Make the object; the names of its methods."""
        self._object = factory()
        kind = type(self._object)
        return frozenset(name for name in dir(kind) if callable(getattr(kind, name, None)))

    def call(self, method: str, positional: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """What the method returns."""
        return getattr(self._object, method)(*positional, **named)

    def read(self, attribute: str) -> Any:
        """The value of an attribute or property."""
        return getattr(self._object, attribute)


class Owned:
    """Stands for an object that lives in an :class:`Owner`; may be sent to workers, which then call the same object.

    Its methods raise what the object raises, and TaskFailed when the owner's process is lost. A lost owner is not replaced:
    its successor would not know what it held.
    """

    def __init__(self, actor: Any, methods: frozenset[str]) -> None:
        self._actor = actor
        self._methods = methods

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name not in self._methods:
            return _receive(self._actor.read.remote(name), name)

        def method(*positional: Any, **named: Any) -> Any:
            return _receive(self._actor.call.remote(name, positional, named), name)

        return method


def own(factory: Callable[[], Any]) -> tuple[Any, Owned]:
    """An owner actor and the stand-in for the object that `factory` builds in it.

    It takes no CPU from the workers, and so can always be placed; it stays on the driver's node, so that the loss of another
    node does not end it.

    Raises:
        TaskFailed: when the process is lost; otherwise whatever `factory` raises.
    """
    environment = {"ALFRAME_FAILPOINT": ""} | dict.fromkeys(_GPU_VARIABLES, "")
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    options = {"num_cpus": 0, "max_restarts": 0, "max_task_retries": 0, "runtime_env": {"env_vars": environment}}
    actor = ray.remote(Owner).options(scheduling_strategy=here, **options).remote()
    return actor, Owned(actor, _receive(actor.build.remote(factory), "build"))


def _receive(ref: Any, call: str) -> Any:
    try:
        return ray.get(ref)
    except RayTaskError as error:
        cause = error.cause
        if isinstance(cause, Exception):
            raise cause from error
        raise TaskFailed(f"the call {call} on a single-writer object failed: {describe(error)}") from error
    except RayError as error:
        raise TaskFailed(f"the process of a single-writer object was lost during {call}: {describe(error)}") from error
