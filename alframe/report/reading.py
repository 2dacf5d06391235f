"""What the report needs of a campaign, read once from the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from alframe.ports import CampaignRecord, Ledger, Pool, RoundRecord
from alframe.types import AnswerRecord, Bin, Confusion, Metric, Phase, Query, Split

__all__ = ["SCOPES", "Arm", "read_arm"]

SCOPES: Mapping[str, str] = {
    "test": "test set",
    "val": "validation set",
    "acquired": "acquired, before the answer",
    "pool": "remaining pool",
}
"""Where a model is measured, in the order in which the report shows it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Arm:
    """One campaign as the report shows it. `settings` is its resolved configuration, `training_pixels` the size of the
    training split that shares are taken of."""

    record: CampaignRecord
    rounds: tuple[RoundRecord, ...]
    queries: Mapping[int, tuple[Query, ...]]
    answers: tuple[AnswerRecord, ...]
    metrics: tuple[tuple[int, Metric], ...]
    bins: tuple[tuple[int, Bin], ...]
    seconds: tuple[tuple[int, Phase, float], ...]
    confusions: tuple[tuple[int, Confusion], ...]
    settings: Mapping[str, Any]
    training_pixels: int

    @property
    def name(self) -> str:
        """The campaign's name."""
        return self.record.name

    @cached_property
    def _values(self) -> dict[tuple[str, str, str, str], dict[int, float]]:
        found: dict[tuple[str, str, str, str], dict[int, float]] = {}
        for index, metric in self.metrics:
            if metric.value is not None:
                found.setdefault((metric.name, metric.scope, metric.label, metric.statistic), {})[index] = metric.value
        return found

    def series(self, name: str, scope: str = "test", label: str = "", statistic: str = "pooled") -> dict[int, float]:
        """Values of one metric by round; rounds where it is undefined or missing are left out."""
        return self._values.get((name, scope, label, statistic), {})

    def labels_of(self, name: str, scope: str = "test") -> tuple[str, ...]:
        """The class names under which a metric was recorded, in the order of the ledger."""
        found = [m.label for _, m in self.metrics if m.name == name and m.scope == scope and m.label]
        return tuple(dict.fromkeys(found))

    def convention(self, name: str, scope: str = "test") -> str:
        """The convention the pooled metric was computed under (empty when it was never recorded)."""
        wanted = (name, scope, "", "pooled")
        return next((m.convention for _, m in self.metrics if (m.name, m.scope, m.label, m.statistic) == wanted), "")

    def trained_share(self) -> dict[int, float]:
        """Per cent of the training pixels that the model of each round was trained on (answers of earlier rounds)."""
        return {index: 100.0 * value for index, value in self.series("annotated_fraction", "campaign").items()}

    def spent(self) -> dict[str, float]:
        """What the campaign used so far, under the names of the budget: rounds, queries, pixels, fraction, seconds."""
        before, new = self.series("annotated_pixels", "campaign"), self.series("acquired_pixels", "campaign")
        last = max(before, default=-1)
        pixels = before.get(last, 0.0) + new.get(last, 0.0)
        return {
            "rounds": float(sum(1 for index, queries in self.queries.items() if queries and index > 0)),
            "queries": float(sum(len(queries) for queries in self.queries.values())),
            "pixels": pixels,
            "fraction": pixels / self.training_pixels if self.training_pixels else 0.0,
            "seconds": sum(seconds for *_, seconds in self.seconds),
        }

    def reliability(self, index: int, scope: str) -> tuple[Bin, ...]:
        """The bins of one reliability diagram."""
        return tuple(one for at, one in self.bins if at == index and one.scope == scope)

    @property
    def strategy(self) -> str:
        """The acquisition strategy in a few words, from the configuration."""
        chosen = self.settings.get("strategy")
        if not isinstance(chosen, Mapping):
            return str(chosen or "")
        words = [str(chosen[key]) for key in ("measure", "type") if key in chosen][:1]
        window = chosen.get("window")
        sides = [window] if isinstance(window, int) else window
        if isinstance(sides, Sequence) and not isinstance(sides, str) and sides:
            words.append("regions of " + " × ".join(str(side) for side in sides))
        return ", ".join(words)


def read_arm(ledger: Ledger, pool: Pool, name: str) -> Arm:
    """Read one campaign. Raises NotFound, naming the campaigns there are."""
    record = ledger.campaign(name)
    rounds = ledger.rounds(name)
    return Arm(
        record=record,
        rounds=rounds,
        queries={one.index: ledger.queries(name, one.index) for one in rounds},
        answers=ledger.answers(name),
        metrics=ledger.metrics(name),
        bins=ledger.bins(name),
        seconds=ledger.seconds(name),
        confusions=ledger.confusions(name),
        settings=_settings(record.config),
        training_pixels=sum(info.size for info in pool.items(Split.TRAIN)),
    )


def _settings(text: str) -> Mapping[str, Any]:
    """The configuration as a mapping; empty when the ledger holds another document."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        found = YAML(typ="safe", pure=True).load(text)
    except YAMLError:
        return {}
    return found if isinstance(found, dict) else {}
