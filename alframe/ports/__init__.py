"""The seams of alframe: what a room promises to the rooms above it, as Protocols that promise behaviour and not only types.

Every port has a contract test in :mod:`alframe.testing.contracts` that runs over each implementation. Objects that travel to
workers (:class:`Pool`, :class:`Artifacts`, :class:`Learner`, :class:`Strategy`, :class:`Labels`) can be pickled; a
copy opened elsewhere reads the same immutable bytes.
"""

from alframe.ports.acquisition import ItemView, Oracle, Strategy
from alframe.ports.data import Artifacts, ItemArrays, Labels, Pool, PoolItem, StoredFile, Upkeep
from alframe.ports.ledger import CampaignRecord, Fence, Ledger, RoundRecord, Transition
from alframe.ports.modelling import Checkpoint, FitTask, Learner, Moments, Prediction, Predictor, Snapshot, Snapshots
from alframe.ports.running import Executor, Observer, RunKind

__all__ = [
    "Artifacts",
    "CampaignRecord",
    "Checkpoint",
    "Executor",
    "Fence",
    "FitTask",
    "ItemArrays",
    "ItemView",
    "Labels",
    "Learner",
    "Ledger",
    "Moments",
    "Observer",
    "Oracle",
    "Pool",
    "PoolItem",
    "Prediction",
    "Predictor",
    "RoundRecord",
    "RunKind",
    "Snapshot",
    "Snapshots",
    "StoredFile",
    "Strategy",
    "Transition",
    "Upkeep",
]
