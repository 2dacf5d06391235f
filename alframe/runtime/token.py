"""Ray's token authentication, on unless the user turned it off: whoever reaches the ports of a cluster may run code there.

Ray looks for the token in ``RAY_AUTH_TOKEN``, then in the file that ``RAY_AUTH_TOKEN_PATH`` names, then in
``~/.ray/auth_token``. It writes that file readable for everybody, and joins a cluster by its address without a token; both
are put right here.
"""

from __future__ import annotations

import logging
import os
import secrets
import stat
import tempfile
from pathlib import Path

from ray._private.authentication import authentication_token_setup as setup

from alframe.errors import ClusterUnavailable, InvalidValue

__all__ = ["MODE", "authenticate", "token_file"]

MODE = "RAY_AUTH_MODE"
_TOKEN, _PATH = "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"


def token_file() -> Path | None:
    """Where the token lies, or would lie; None when the environment holds the token itself."""
    if os.environ.get(_TOKEN):
        return None
    return Path(os.environ.get(_PATH) or Path.home() / ".ray" / "auth_token")


def authenticate(*, new: bool) -> bool:
    """Make Ray ask for the token, and send it, in this process and those it starts; False when the user turned it off.

    A `new` cluster gets a token when there is none; to join one, it must be here already. The file is made private.

    Raises:
        ClusterUnavailable: when there is no token to join a cluster with.
        InvalidValue: when others may read a token file that is not ours to change.
    """
    mode = os.environ.get(MODE)
    if mode is not None and mode.lower() != "token":
        return False
    place = token_file()
    if place is not None and not place.exists():
        if not new:
            raise ClusterUnavailable(
                f"no token to join the cluster with: copy {place} (mode 0600) from its head, or set {_PATH}. "
                f"If the cluster was started without authentication, say so with {MODE}=disabled"
            )
        place = _make(place)
    if place is not None:
        _make_private(place)
    logging.getLogger(setup.__name__).setLevel(logging.ERROR)  # it warns that authentication is on
    os.environ.pop(MODE, None)  # Ray reads its settings once; this call sets the variable and makes it read again
    return bool(setup.enable_token_auth_by_default())


def _make(place: Path) -> Path | None:
    """A new token at `place`, whole or not at all; where nothing can be written (None), the token goes to the environment."""
    token = secrets.token_hex(32)
    try:
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile("w", dir=place.parent, prefix=".token-") as stream:  # mode 0600
            stream.write(token)
            stream.flush()
            os.fsync(stream.fileno())
            try:
                os.link(stream.name, place)
            except FileExistsError:  # another driver was first; its token is as good
                return place
    except OSError:
        os.environ[_TOKEN] = token
        return None
    return place


def _make_private(place: Path) -> None:
    others = stat.S_IMODE(place.stat().st_mode) & 0o077
    if not others:
        return
    try:
        place.chmod(0o600)
    except OSError as error:
        # a mounted secret is read-only, and its directory is what keeps others out
        if os.access(place, os.W_OK):
            raise InvalidValue(
                f"others may read {place}, the key to the cluster: chmod 600 {place} ({error})"
            ) from error
