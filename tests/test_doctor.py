"""The doctor on a healthy machine and on machines that are made ill."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from alframe import doctor
from alframe.cli import main
from alframe.testing.plugins import installed_plugins


def findings(folder: Path) -> dict[str, doctor.Check]:
    return {check.name: check for check in doctor.diagnose(folder)}


def test_a_healthy_machine_passes_and_the_folder_stays_as_it_was(tmp_path: Path) -> None:
    found = findings(tmp_path)
    assert not [check for check in found.values() if check.state == "failed"]
    assert all(check.advice for check in found.values() if check.state == "warning")
    assert list(tmp_path.iterdir()) == []


def test_an_old_sqlite_is_a_warning_and_a_fixed_one_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 51, 2))
    assert findings(tmp_path)["sqlite"].state == "warning"
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 51, 3))
    assert findings(tmp_path)["sqlite"].state == "ok"


def test_a_file_system_without_fsync_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(handle: int) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(doctor.os, "fsync", refuse)
    found = findings(tmp_path)["durability"]
    assert found.state == "failed"
    assert "local file system" in found.advice
    assert main(["doctor", "--folder", str(tmp_path)]) == 1
    assert "Invalid argument" in capsys.readouterr().out


@pytest.mark.parametrize(("free", "state"), [(1 << 20, "failed"), (1 << 30, "warning"), (1 << 40, "ok")])
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, state: str) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda place: usage._replace(free=free))
    assert findings(tmp_path)["disk"].state == state


@pytest.mark.parametrize(("number", "state"), [("2.9.3", "failed"), ("2.60.0", "ok"), ("3.0.0", "ok")])
def test_old_rays_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: str, state: str) -> None:
    monkeypatch.setattr(doctor, "version", lambda name: number)
    assert findings(tmp_path)["ray"].state == state


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real: Any = doctor.version

    def version(name: str) -> str:
        if name == "zarr":
            raise doctor.PackageNotFoundError(name)
        return str(real(name))

    monkeypatch.setattr(doctor, "version", version)
    found = findings(tmp_path)["packages"]
    assert (found.state, found.found) == ("failed", "missing: zarr")


def test_a_broken_plugin_is_a_warning(tmp_path: Path) -> None:
    entries = {"alframe.oracles": {"broken": "broken_mod:Oracle"}}
    with installed_plugins(tmp_path, "broken", entries, {"broken_mod": "import nothing_like_it\n"}):
        found = findings(tmp_path)["plug-ins"]
    assert found.state == "warning"
    assert "nothing_like_it" in found.found


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        doctor.diagnose(tmp_path / "nowhere")
    assert main(["doctor", "--folder", str(tmp_path / "nowhere")]) == 2
