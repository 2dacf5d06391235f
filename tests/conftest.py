"""What all tests share: one Ray cluster, the real data where there are any, one browser, and how hypothesis draws."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from xdist.scheduler import LoadScopeScheduling

from alframe.errors import NotFound
from alframe.testing.postgres import PostgresServer, postgres_server
from alframe.testing.s3 import s3_server

if TYPE_CHECKING:
    from playwright.sync_api import Browser

REPOSITORY = Path(__file__).resolve().parents[1]

# no test depends on how long something takes; in CI every run draws the same examples
hypothesis.settings.register_profile(
    "alframe",
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("alframe")


class Together(LoadScopeScheduling):
    """In several processes (`-n`) the tests of a file stay together, and so do all that share the Ray cluster."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "ray" if "mark.ray" in (REPOSITORY / file).read_text(encoding="utf-8") else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together:
    """Called by pytest-xdist in the process that hands out the tests."""
    return Together(config, log)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The folder that holds pyproject.toml."""
    return REPOSITORY


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of public data sets (``glas``, ``hippocampus``, ``lidc``), or a skip."""
    folder = Path(os.environ.get("ALFRAME_DATA") or REPOSITORY.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"needs the public data sets; set ALFRAME_DATA to their folder ({folder} is none)")
    return folder


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A local cluster that executors join instead of starting their own: room for four workers, on any number of cores."""
    import ray

    from alframe.runtime.cluster import LOCAL, connect
    from alframe.runtime.shares import Share

    connected = connect(LOCAL, workers=4, shares=[Share()], memory=512 * 1024 * 1024)
    yield
    if connected:
        ray.shutdown()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server of the session's own, or a skip; tests may restart it."""
    with ExitStack() as stack:
        try:
            server = stack.enter_context(postgres_server())
        except NotFound as error:
            pytest.skip(str(error))
        yield server


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> str:
    """The address of a database that is empty when the test begins."""
    return postgres.empty("ledger")


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The address of a bucket on an S3-speaking server of the session's own, which the environment names; use a prefix in it."""
    with s3_server() as address:
        yield address


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium, or a skip."""
    names = (os.environ.get("ALFRAME_CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    for name in filter(None, names):
        found = shutil.which(name)
        if found:
            return found
    pytest.skip("needs chromium on the PATH (Debian: apt-get install chromium) or in ALFRAME_CHROMIUM")


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    """A headless browser; every test opens its own context in it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # as root, and in small containers, Chromium runs only without its sandbox and with files instead of /dev/shm
        options = ["--no-sandbox", "--disable-dev-shm-usage"]
        opened = playwright.chromium.launch(executable_path=chromium, args=options)
        yield opened
        opened.close()
