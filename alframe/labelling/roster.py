"""Raters and their secrets: opaque random tokens, of which the ledger keeps the SHA-256 only."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence

from alframe.errors import InvalidValue
from alframe.labelling.errors import Forbidden, Unauthenticated
from alframe.labelling.ports import LabellingLedger
from alframe.labelling.values import Credential, Rater, Scope, rater_name

__all__ = ["INVITE_SECONDS", "SESSION_SECONDS", "Roster", "secret_hash"]

INVITE_SECONDS = 7 * 86400.0
SESSION_SECONDS = 12 * 3600.0
_PREFIX = "alf_"
_LONGEST = 200
_NO_TOKEN = "this is no token of alframe; ask who runs the campaign for one (`alframe raters add`)"


def secret_hash(secret: str) -> str:
    """What the ledger knows a secret by. Secrets carry 256 random bits, so a plain hash is enough."""
    return hashlib.sha256(secret.encode()).hexdigest()


class Roster:
    """Who may label, and how they prove it. `actor` is who runs the commands, for the audit."""

    def __init__(self, ledger: LabellingLedger, *, actor: str = "administrator") -> None:
        self._ledger, self._actor = ledger, actor

    def add(self, name: str, *scopes: Scope) -> Rater:
        """Add a rater (scope ``annotate`` unless others are given), or change the scopes of one who exists. Raises InvalidValue."""
        granted = frozenset(scopes or (Scope.ANNOTATE,))
        return self._ledger.enroll(rater_name(name), scopes=granted, asserted=False, actor=self._actor)

    def asserted(self, name: str) -> Credential:
        """The credential of a rater whom only a bridge's files or service name; enrolled when new. Raises InvalidValue, Forbidden.

        Nobody is turned into a different person: an enrolled rater keeps scopes and tokens, and a revoked one stays so.
        """
        known = {rater.name: rater for rater in self._ledger.raters()}
        if rater_name(name) in known:
            if known[name].revoked is not None:
                raise Forbidden(f"{name} was revoked; ask who runs the campaign to add {name} again")
        else:
            self._ledger.enroll(name, scopes=frozenset({Scope.ANNOTATE}), asserted=True, actor=self._actor)
        return Credential(rater=name, scopes=frozenset({Scope.ANNOTATE}), kind="asserted")

    def list(self) -> tuple[Rater, ...]:
        """All raters by name, revoked ones included."""
        return self._ledger.raters()

    def revoke(self, name: str) -> Rater:
        """Refuse this rater from now on; what was submitted stays. Raises NotFound."""
        return self._ledger.revoke(name, actor=self._actor)

    def token(self, name: str, *, seconds: float | None = None) -> str:
        """A new token, shown this once; it holds for `seconds`, or until revoked. Raises NotFound, InvalidValue."""
        return self._issue(name, "token", seconds)

    def invite(self, name: str, *, seconds: float = INVITE_SECONDS) -> str:
        """A secret for the fragment of a URL; the first browser to bring it gets a session. Raises NotFound, InvalidValue."""
        return self._issue(name, "invite", seconds)

    def _issue(self, name: str, kind: str, seconds: float | None) -> str:
        if seconds is not None and not 0 < seconds < 1e10:
            raise InvalidValue(f"a {kind} holds for more than 0 seconds, got {seconds}")
        secret = _PREFIX + secrets.token_urlsafe(32)
        self._ledger.issue(name, sha256=secret_hash(secret), kind=kind, seconds=seconds, actor=self._actor)
        return secret

    def redeem(self, invite: str, *, seconds: float = SESSION_SECONDS) -> tuple[str, Credential]:
        """Exchange an invite for a session secret (for a cookie). Raises Unauthenticated when it was used before, or expired."""
        session = _PREFIX + secrets.token_urlsafe(32)
        who = self._ledger.redeem(_checked(invite), session_sha256=secret_hash(session), seconds=seconds)
        return session, who

    def authenticate(self, secret: str) -> Credential:
        """Who a token or a session belongs to. Raises Unauthenticated."""
        (who,) = self.identify([secret])
        if isinstance(who, Unauthenticated):
            raise who
        return who

    def identify(self, tokens: Sequence[str]) -> tuple[Credential | Unauthenticated, ...]:
        """Who several tokens or sessions belong to, or what :meth:`authenticate` would raise; looked up together."""
        known = {token: secret_hash(token) for token in tokens if _proper(token)}
        found = dict(zip(known, self._ledger.credentials(list(known.values())) if known else (), strict=True))
        return tuple(found.get(token) or Unauthenticated(_NO_TOKEN) for token in tokens)

    def sign_out(self, secret: str) -> None:
        """Forget a session (or token). Idempotent."""
        self._ledger.withdraw(secret_hash(secret))


def _proper(secret: str) -> bool:
    return secret.startswith(_PREFIX) and len(secret) <= _LONGEST and secret.isascii()


def _checked(secret: str) -> str:
    if not _proper(secret):
        raise Unauthenticated(_NO_TOKEN)
    return secret_hash(secret)
