"""Who drives a campaign: leases by the database's clock, and the fence that every write passes.

Functions of an open transaction. A take-over raises the epoch; from then on the former driver's fence is refused. Where the
database is a local file, the lease of a process of this host that no longer lives is free at once.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from sqlalchemy import Connection, or_, select, update

from alframe.errors import FencedError, InvalidValue, LeaseHeld, NotFound
from alframe.ports import Fence
from alframe.storage.engine import EpochSeconds
from alframe.storage.rows import finite, timestamp
from alframe.storage.tables import campaigns

__all__ = ["check", "claim", "is_dead", "not_found", "release", "renew"]


def claim(connection: Connection, name: str, holder: str, lease_seconds: float) -> Fence:
    """Take the lease: when it is free, expired, this holder's own, or held by a dead process of this host.

    Raises:
        LeaseHeld: naming the holder and until when.
        NotFound: when there is no such campaign.
        InvalidValue: for an empty holder or a negative lease.
    """
    if not holder:
        raise InvalidValue("a driver needs a name (host:pid:token), got an empty one")
    seconds = _length(lease_seconds)
    held = connection.execute(select(campaigns.c.holder).where(campaigns.c.name == name)).scalar_one_or_none()
    mine = [holder] if held is None or connection.dialect.name != "sqlite" or not is_dead(held) else [holder, held]
    free = or_(
        campaigns.c.lease_until.is_(None),
        campaigns.c.lease_until <= EpochSeconds(),
        campaigns.c.holder.in_(mine),
    )
    epoch = connection.execute(
        update(campaigns)
        .where(campaigns.c.name == name, free)
        .values(
            epoch=campaigns.c.epoch + 1,
            holder=holder,
            lease_until=EpochSeconds() + seconds,
            status="running",
            reason="",
            stop_reason=None,
        )
        .returning(campaigns.c.epoch)
    ).scalar_one_or_none()
    if epoch is not None:
        return Fence(campaign=name, epoch=epoch)
    row = connection.execute(
        select(campaigns.c.holder, campaigns.c.lease_until).where(campaigns.c.name == name)
    ).one_or_none()
    if row is None:
        raise not_found(connection, name)
    until = timestamp(row.lease_until)
    raise LeaseHeld(
        f"campaign {name!r} is driven by {_shown(row.holder, connection)} until {until} at least; "
        "stop that driver, or wait until then"
    )


def _shown(holder: str, connection: Connection) -> str:
    """`holder` for a person. Only beside a local file do equal host names surely mean this machine."""
    host, _, pid = holder.rpartition(":")[0].rpartition(":")
    if not pid.isdecimal():
        return holder
    here = connection.dialect.name == "sqlite" and host == socket.gethostname()
    return f"process {pid} on {'this machine' if here else host} ({holder})"


def _length(lease_seconds: float) -> float:
    seconds = finite("the lease", lease_seconds)
    if seconds < 0:
        raise InvalidValue(f"a lease lasts 0 seconds or more, got {seconds}")
    return seconds


def renew(connection: Connection, fence: Fence, lease_seconds: float) -> None:
    """Extend the lease. Raises FencedError, NotFound, InvalidValue."""
    check(connection, fence)
    extended = EpochSeconds() + _length(lease_seconds)
    connection.execute(update(campaigns).where(campaigns.c.name == fence.campaign).values(lease_until=extended))


def release(connection: Connection, fence: Fence, status: str, reason: str) -> None:
    """Give the lease back; a repeat changes only status and reason. Raises FencedError, NotFound."""
    check(connection, fence, released=True)
    connection.execute(
        update(campaigns)
        .where(campaigns.c.name == fence.campaign)
        .values(holder="", lease_until=None, status=status, reason=reason)
    )


def check(connection: Connection, fence: Fence, *, released: bool = False) -> None:
    """Refuse a fence of an earlier epoch, and of a driver that gave its lease back (unless `released` is allowed).

    On PostgreSQL the row stays locked in share mode, so that nobody takes over before this transaction ends; SQLite
    has one writer at a time. Raises FencedError, NotFound.
    """
    row = connection.execute(
        select(campaigns.c.epoch, campaigns.c.holder)
        .where(campaigns.c.name == fence.campaign)
        .with_for_update(read=not released)
    ).one_or_none()
    if row is None:
        raise not_found(connection, fence.campaign)
    if row.epoch != fence.epoch:
        raise FencedError(
            f"campaign {fence.campaign!r} was taken over by {row.holder or 'another driver'} "
            f"(epoch {row.epoch}, this driver has {fence.epoch}); nothing was written, this driver must stop"
        )
    if not row.holder and not released:
        raise FencedError(f"this driver gave campaign {fence.campaign!r} back; claim it again before writing")


def not_found(connection: Connection, name: str) -> NotFound:
    """The error for an unknown campaign, naming those that exist."""
    names = connection.execute(select(campaigns.c.name).order_by(campaigns.c.id)).scalars().all()
    return NotFound(f"no campaign {name!r} in this ledger; it has: {', '.join(names) or 'none yet'}")


def is_dead(holder: str) -> bool:
    """Whether `holder` (``host:pid:token``) names a process of this host that has ended. False when that cannot be told."""
    host, _, rest = holder.rpartition(":")[0].rpartition(":")
    if host != socket.gethostname() or not rest.isdecimal() or int(rest) < 1:
        return False
    try:
        os.kill(int(rest), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return _is_zombie(int(rest))


def _is_zombie(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] in ("Z", "X")
