"""Frozen splits by group: the same groups and seed always divide in the same way, in whatever order they come."""

from __future__ import annotations

from collections.abc import Mapping

from alframe.errors import InvalidValue
from alframe.seeding import derive
from alframe.types import Split

__all__ = ["divide"]


def divide(sizes: Mapping[str, int], fractions: Mapping[Split, float], seed: int) -> dict[str, Split]:
    """Give each group (name → number of items) to one split, so that item counts come close to `fractions`.

    Groups are visited in an order drawn from `seed` and their names; each goes to the split that lacks most items. Then a
    split that got nothing takes the smallest group of the split that has most groups.

    Raises:
        InvalidValue: when there are fewer groups than splits that want some.
    """
    wanted = [split for split in Split if fractions.get(split, 0) > 0]
    if len(sizes) < len(wanted):
        raise InvalidValue(f"{len(sizes)} groups cannot fill the splits {[str(split) for split in wanted]}")
    total = sum(sizes.values())
    lacking = {split: fractions[split] * total for split in wanted}
    given: dict[str, Split] = {}
    for group in sorted(sizes, key=lambda name: (derive("split", seed, name), name)):
        split = max(wanted, key=lambda candidate: lacking[candidate])
        given[group] = split
        lacking[split] -= sizes[group]
    for empty in wanted:
        if empty not in given.values():
            members = {split: [group for group in given if given[group] == split] for split in wanted}
            richest = max(wanted, key=lambda candidate: len(members[candidate]))
            given[min(members[richest], key=lambda name: (sizes[name], name))] = empty
    return given
