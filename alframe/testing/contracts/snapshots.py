"""What every :class:`alframe.ports.Snapshots` must do. Subclass and give :meth:`SnapshotsContract.make`."""

from __future__ import annotations

import pickle

import pytest

from alframe.errors import InvalidValue
from alframe.ports import Snapshots

__all__ = ["SnapshotsContract"]


class SnapshotsContract:
    """Subclass, override the fixture :meth:`make`, and pytest runs every promise over your implementation."""

    @pytest.fixture
    def make(self) -> Snapshots:
        """An empty place for snapshots."""
        raise NotImplementedError

    def test_nothing_is_there_at_first(self, make: Snapshots) -> None:
        assert make.at("run.1.0.0").load() is None

    def test_the_last_one_saved_is_the_one_loaded(self, make: Snapshots) -> None:
        snapshot = make.at("run.1.0.0")
        snapshot.save(b"first, and longer than the second")
        snapshot.save(b"second")
        assert snapshot.load() == b"second"

    def test_keys_do_not_share(self, make: Snapshots) -> None:
        make.at("run.1.0.0").save(b"one")
        make.at("run.1.0.1").save(b"two")
        make.at("run.1.0.1").clear()
        assert make.at("run.1.0.0").load() == b"one"
        assert make.at("run.1.0.1").load() is None

    def test_clearing_twice_is_clearing_once(self, make: Snapshots) -> None:
        snapshot = make.at("run.1.0.0")
        snapshot.clear()
        snapshot.save(b"one")
        snapshot.clear()
        snapshot.clear()
        assert snapshot.load() is None

    def test_it_travels_to_workers(self, make: Snapshots) -> None:
        make.at("run.1.0.0").save(b"one")
        copy = pickle.loads(pickle.dumps(make.at("run.1.0.0")))  # noqa: S301 - our own bytes
        assert copy.load() == b"one"

    @pytest.mark.parametrize("key", ["", "../mask", "a/b", ".part-1", "A", "a" * 201, "a\n"])
    def test_a_key_is_a_plain_name(self, make: Snapshots, key: str) -> None:
        with pytest.raises(InvalidValue, match="lower-case name"):
            make.at(key)
