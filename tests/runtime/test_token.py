"""Ray's token: made once, private, and never given up silently."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from alframe.errors import ClusterUnavailable
from alframe.runtime import token

pytestmark = pytest.mark.ray


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.setenv(name, "")  # so that what the code sets is undone
        monkeypatch.delenv(name)
    return tmp_path


def mode(place: Path) -> int:
    return stat.S_IMODE(place.stat().st_mode)


def test_a_new_cluster_gets_a_private_token_and_keeps_it(home: Path) -> None:
    place = home / ".ray" / "auth_token"
    assert token.authenticate(new=True)
    first = place.read_text()
    assert (len(bytes.fromhex(first)), mode(place), mode(place.parent)) == (32, 0o600, 0o700)
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert token.authenticate(new=True)
    assert token.authenticate(new=False)
    assert [path.name for path in place.parent.iterdir()] == ["auth_token"]
    assert place.read_text() == first


def test_a_token_that_others_may_read_is_made_private(home: Path) -> None:
    """As Ray itself writes it."""
    place = home / "key"
    place.write_text("a" * 64)
    place.chmod(0o644)
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(place)
    assert token.authenticate(new=False)
    assert mode(place) == 0o600
    assert not (home / ".ray").exists()


def test_a_cluster_is_not_joined_without_its_token(home: Path) -> None:
    with pytest.raises(ClusterUnavailable, match=r"copy .*auth_token .* from its head.*RAY_AUTH_MODE=disabled"):
        token.authenticate(new=False)
    assert not (home / ".ray").exists()


def test_a_token_in_the_environment_needs_no_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "b" * 64)
    assert token.token_file() is None
    assert token.authenticate(new=False)
    assert not (home / ".ray").exists()


def test_who_turns_it_off_is_obeyed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert not token.authenticate(new=True)
    assert os.environ["RAY_AUTH_MODE"] == "disabled"
    assert not (home / ".ray").exists()


def test_drivers_that_start_at_once_share_a_token(home: Path) -> None:
    place = home / ".ray" / "auth_token"
    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(lambda _: token._make(place), range(32))) == {place}
    assert len(place.read_text()) == 64
    assert [path.name for path in place.parent.iterdir()] == ["auth_token"]


def test_without_a_home_the_token_is_kept_in_the_environment(home: Path) -> None:
    (home / ".ray").write_text("a file where the folder should be")
    assert token.authenticate(new=True)
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64


LOCAL = """
import os, sys
from pathlib import Path
import ray
from alframe.runtime import RayExecutor
from alframe.testing.contracts.executor import affine

executor = RayExecutor(1)
assert dict(executor.run("affine", affine, (2, 1), [5])) == {0: 11}
parents = {}
for stat in Path("/proc").glob("[0-9]*/stat"):
    try:
        parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    except OSError:
        pass
family = {os.getpid()}
while more := {pid for pid, parent in parents.items() if parent in family} - family:
    family |= more
inodes = set()
for pid in family:
    try:
        inodes |= {os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()}
    except OSError:
        pass
listening = []
for table in ("tcp", "tcp6"):
    for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
        cells = line.split()
        if cells[3] == "0A" and f"socket:[{cells[9]}]" in inodes:
            listening.append(cells[1].partition(":")[0])
print(len(listening), {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"} >= set(listening))
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.readline()
executor.close()
"""

STRANGER = """
import sys
from alframe.runtime.cluster import _join, _loopback
from alframe.runtime.token import authenticate
authenticate(new=False)
with _loopback():
    _join(sys.argv[1])
"""


@pytest.mark.slow
def test_a_local_cluster_listens_on_loopback_and_refuses_strangers(home: Path) -> None:
    """Even on the same machine: another user has another token, or none."""
    command = [sys.executable, "-c", LOCAL]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as local:
        assert local.stdout is not None
        sockets, only_loopback = local.stdout.readline().split()
        address = local.stdout.readline().strip()
        strangers = [
            subprocess.Popen(
                [sys.executable, "-c", STRANGER, address],
                env={**os.environ, **theirs},
                text=True,
                stderr=subprocess.PIPE,
            )
            for theirs in ({"RAY_AUTH_TOKEN": "c" * 64}, {"RAY_AUTH_MODE": "disabled"})
        ]
        said = [stranger.communicate()[1] for stranger in strangers]
        local.communicate("\n")
    assert (int(sockets) >= 4, only_loopback, local.returncode) == (True, "True", 0)
    for text in said:
        assert "ClusterUnavailable: cannot join the Ray cluster" in text.splitlines()[-1]
        assert "InvalidAuthToken" in text
