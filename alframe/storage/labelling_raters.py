"""Raters and credentials in SQL: functions of an open transaction. Only hashes of secrets are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, delete, or_, select, update

from alframe.labelling.errors import Unauthenticated
from alframe.labelling.values import Credential, Rater, Scope
from alframe.storage.engine import EpochSeconds
from alframe.storage.labelling_events import Log, now
from alframe.storage.labelling_leases import lock_rater, release
from alframe.storage.labelling_rows import rater_of, scopes_text
from alframe.storage.labelling_tables import credentials, leases, raters
from alframe.storage.rows import timestamp
from alframe.storage.steps import insert_once

__all__ = ["authenticate", "enroll", "issue", "redeem", "revoke", "withdraw"]

_REFUSED = "this credential is unknown, expired, used or revoked; ask who runs the campaign for a new one"

_CREDENTIAL = (
    select(credentials.c.sha256, credentials.c.rater, credentials.c.kind, raters.c.scopes)
    .join(raters, raters.c.rater == credentials.c.rater)
    .where(
        credentials.c.sha256.in_(bindparam("sha256", expanding=True)),
        credentials.c.kind.in_(bindparam("kinds", expanding=True)),
        credentials.c.used.is_(None),
        raters.c.revoked.is_(None),
        or_(credentials.c.expires.is_(None), credentials.c.expires > EpochSeconds()),
    )
)


def enroll(connection: Connection, log: Log, name: str, scopes: frozenset[Scope], asserted: bool, actor: str) -> Rater:
    """See the port."""
    created = timestamp(now(connection))
    fields = {"scopes": scopes_text(scopes), "asserted": asserted, "revoked": None}
    if not insert_once(connection, raters, {"rater": name, "created": created, **fields}):
        connection.execute(update(raters).where(raters.c.rater == name).values(**fields))
    log.add("", actor, "rater.enrolled", name, {"scopes": sorted(scopes), "asserted": asserted})
    log.flush()
    return rater_of(lock_rater(connection, name))


def revoke(connection: Connection, log: Log, name: str, actor: str) -> Rater:
    """See the port. Raises NotFound."""
    row = lock_rater(connection, name)
    if row.revoked is None:
        held = select(leases.c.lease).where(leases.c.rater == name, leases.c.state == "active").order_by(leases.c.task)
        for lease in connection.execute(held).scalars().all():
            release(connection, log, lease, name)
        connection.execute(update(raters).where(raters.c.rater == name).values(revoked=timestamp(now(connection))))
        connection.execute(delete(credentials).where(credentials.c.rater == name))
        log.add("", actor, "rater.revoked", name, {})
        log.flush()
    return rater_of(lock_rater(connection, name))


def issue(
    connection: Connection, log: Log, rater: str, sha256: str, kind: str, seconds: float | None, actor: str
) -> None:
    """See the port. Raises NotFound, Unauthenticated for a revoked rater."""
    if lock_rater(connection, rater).revoked is not None:
        raise Unauthenticated(f"{rater} was revoked; enroll again before issuing a {kind}")
    if _keep(connection, rater, sha256, kind, seconds):
        log.add("", actor, "credential.issued", rater, {"kind": kind, "seconds": seconds, "sha256": sha256[:16]})
        log.flush()


def _keep(connection: Connection, rater: str, sha256: str, kind: str, seconds: float | None) -> bool:
    at = now(connection)
    expires = None if seconds is None else at + float(seconds)
    fields = {
        "sha256": sha256,
        "rater": rater,
        "kind": kind,
        "created": timestamp(at),
        "expires": expires,
        "used": None,
    }
    return insert_once(connection, credentials, fields)


def authenticate(connection: Connection, sha256s: Sequence[str]) -> tuple[Credential | Unauthenticated, ...]:
    """See the port."""
    found = {row.sha256: _credential(row) for row in _valid(connection, sha256s, "token", "session")}
    return tuple(found.get(one) or Unauthenticated(_REFUSED) for one in sha256s)


def _credential(row: Row[Any]) -> Credential:
    return Credential(rater=row.rater, scopes=frozenset(map(Scope, row.scopes.split())), kind=row.kind)


def _valid(connection: Connection, sha256s: Sequence[str], *kinds: str) -> list[Row[Any]]:
    return list(connection.execute(_CREDENTIAL, {"sha256": list(sha256s), "kinds": kinds}))


def redeem(connection: Connection, log: Log, sha256: str, session_sha256: str, seconds: float) -> Credential:
    """See the port; the same exchange again (after a lost connection) gives the same session. Raises Unauthenticated."""
    again = select(credentials.c.used).where(credentials.c.sha256 == sha256, credentials.c.used == session_sha256)
    if connection.execute(again).one_or_none() is None:
        invited = _valid(connection, [sha256], "invite")
        if not invited:
            raise Unauthenticated(_REFUSED)
        unused = and_(credentials.c.sha256 == sha256, credentials.c.used.is_(None))
        change = update(credentials).where(unused).values(used=session_sha256).returning(credentials.c.rater)
        if connection.execute(change).one_or_none() is None:
            raise Unauthenticated(_REFUSED)
        rater = invited[0].rater
        _keep(connection, rater, session_sha256, "session", seconds)
        log.add("", rater, "credential.redeemed", rater, {"session": session_sha256[:16], "seconds": seconds})
        log.flush()
    (who,) = authenticate(connection, [session_sha256])
    if isinstance(who, Unauthenticated):
        raise who
    return who


def withdraw(connection: Connection, log: Log, sha256: str) -> None:
    """See the port."""
    gone = delete(credentials).where(credentials.c.sha256 == sha256).returning(credentials.c.rater, credentials.c.kind)
    row = connection.execute(gone).one_or_none()
    if row is not None:
        log.add("", row.rater, "credential.withdrawn", row.rater, {"kind": row.kind, "sha256": sha256[:16]})
        log.flush()
