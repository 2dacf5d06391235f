"""Files from the network, from a server that misbehaves: whole and as expected, or not at all."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alframe.errors import ArtifactDamaged, InvalidValue, NotFound, StoreUnavailable
from alframe.fetching import cached, fetch
from alframe.testing.web import Site, served

DATA = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(DATA).hexdigest()


def get(site: Site, target: Path, tries: int = 3) -> None:
    fetch(site.url, target, f"sha256:{SHA256}", pauses=(0.0,) * tries)


@given(cuts=st.lists(st.integers(0, len(DATA)), max_size=3), ranges=st.booleans())
def test_wherever_connections_end_the_file_is_whole(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], ranges: bool
) -> None:
    target = tmp_path_factory.mktemp("got") / "file"
    with served(Site(DATA, cuts=list(cuts), ranges=ranges)) as site:
        get(site, target)
    assert target.read_bytes() == DATA
    assert sorted(one.name for one in target.parent.iterdir()) == ["file", "file.lock"]


def test_it_goes_on_from_what_is_there_also_in_a_later_call(tmp_path: Path) -> None:
    with served(Site(DATA, cuts=[300_000])) as site:
        with pytest.raises(StoreUnavailable, match=r"262,144 bytes.*are kept"):
            get(site, tmp_path / "file", tries=0)
        assert not (tmp_path / "file").exists()
        get(site, tmp_path / "file", tries=0)
    assert site.asked == ["", "bytes=262144-"]
    assert (tmp_path / "file").read_bytes() == DATA


def test_a_file_that_changed_meanwhile_is_not_mixed(tmp_path: Path) -> None:
    with served(Site(b"old" * 100_000, tag='"old"', cuts=[200_000])) as site:
        with pytest.raises(StoreUnavailable):
            get(site, tmp_path / "file", tries=0)
        site.data, site.tag = DATA, '"new"'
        get(site, tmp_path / "file", tries=0)
    assert (tmp_path / "file").read_bytes() == DATA


def test_another_file_is_refused_and_nothing_of_it_kept(tmp_path: Path) -> None:
    refused = pytest.raises(ArtifactDamaged, match=f"should have sha256:{SHA256}, it has")
    with served(Site(b"something else")) as site, refused:
        get(site, tmp_path / "file")
    assert [one.name for one in tmp_path.iterdir()] == ["file.lock"]


def test_a_server_that_is_busy_is_asked_again(tmp_path: Path) -> None:
    with served(Site(DATA, statuses=[503, 429, 500])) as site:
        get(site, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == DATA


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_file_that_is_not_there_is_not_asked_for_again(tmp_path: Path, status: int) -> None:
    with (
        served(Site(DATA, statuses=[status] * 5)) as site,
        pytest.raises(NotFound, match=rf"{status}.*check the address"),
    ):
        get(site, tmp_path / "file")
    assert len(site.asked) == 1


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    with served(Site(DATA)) as site:
        pass
    with pytest.raises(StoreUnavailable, match="0 bytes"):
        get(site, tmp_path / "file", tries=1)


@pytest.mark.parametrize(
    "url", ["ftp://example.org/x", "https://", "https://anna:secret@example.org/x", "http://[::1/x"]
)
def test_what_is_no_address_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(InvalidValue) as found:
        fetch(url, tmp_path / "file", f"sha256:{SHA256}")
    assert "secret" not in str(found.value)
    assert list(tmp_path.iterdir()) == []


def test_two_processes_fetch_a_file_once(tmp_path: Path) -> None:
    program = "import sys; from alframe.fetching import cached; print(cached(sys.argv[1], sys.argv[2]))"
    with served(Site(DATA)) as site:
        command = [sys.executable, "-c", program, site.url, SHA256]
        both = [
            subprocess.Popen(command, stdout=subprocess.PIPE, env={"ALFRAME_CACHE": str(tmp_path)}, text=True)
            for _ in range(2)
        ]
        said = [process.communicate(timeout=60)[0].strip() for process in both]
    assert said == [str(tmp_path / SHA256)] * 2
    assert len(site.asked) == 1
    assert (tmp_path / SHA256).read_bytes() == DATA


def test_the_cache_is_where_users_expect_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALFRAME_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with served(Site(DATA)) as site:
        assert cached(site.url, SHA256.upper()) == tmp_path / "alframe" / SHA256
        assert cached(site.url, SHA256) == tmp_path / "alframe" / SHA256
    assert len(site.asked) == 1


def test_md5_and_no_digest_at_all(tmp_path: Path) -> None:
    with served(Site(DATA)) as site:
        fetch(site.url, tmp_path / "one", f"md5:{hashlib.md5(DATA).hexdigest().upper()}")
        fetch(site.url, tmp_path / "two", "")
        with pytest.raises(ArtifactDamaged, match="md5:"):
            fetch(site.url, tmp_path / "three", "md5:" + 32 * "0")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes() == DATA


@pytest.mark.parametrize("digest", ["sha256:", "sha256:12", "md5:" + 32 * "g", "sha1:" + 40 * "0", 64 * "0"])
def test_what_is_no_digest_is_refused(tmp_path: Path, digest: str) -> None:
    with pytest.raises(InvalidValue, match="expected a digest"):
        fetch("https://example.org/x", tmp_path / "file", digest)
