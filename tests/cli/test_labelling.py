"""Raters and the audit from the command line, on a real campaign that waits for people."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alframe import compose, config
from alframe.cli import main
from alframe.labelling import Roster, Unauthenticated
from alframe.testing.desks import ScriptedRater, truthful
from alframe.types import Phase

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def people(campaign: Path) -> Path:
    """The campaign's YAML, with people as the oracle."""
    campaign.write_text(
        campaign.read_text().replace("oracle: {type: simulated}", "oracle: {type: human, blind_share: 0.5}")
    )
    return campaign


def output(capsys: Capture, *arguments: str | Path, code: int = 0) -> Any:
    capsys.readouterr()
    assert main([*map(str, arguments), "--json"]) == code
    return json.loads(capsys.readouterr().out)


def drawn(path: Path, token: str) -> int:
    """The rater of a token labels everything that waits."""
    settings = config.load(path)
    desk = compose.open_desk(settings)
    with desk.ledger:
        who = Roster(desk.ledger).authenticate(token)
        return ScriptedRater(desk, who, truthful(compose.open_pool(settings))).work(settings.name)


def test_a_campaign_waits_with_three_until_people_answered(people: Path, capsys: Capture, tmp_path: Path) -> None:
    token = output(capsys, "raters", "add", people, "Dr. Anna Weber", "--scope", "annotate")["token"]
    assert output(capsys, "run", people, code=3)["status"] == "waiting"
    assert output(capsys, "resume", people, code=3)["status"] == "waiting"
    rounds = 0
    while drawn(people, token):
        rounds += 1
        code = main(["resume", str(people)])
        assert code in (0, 3)
    assert (rounds, code) == (3, 0)
    (listed,) = output(capsys, "raters", "list", people)
    assert (listed["rater"], listed["identity"], listed["scopes"]) == ("Dr. Anna Weber", "proven", ["annotate"])
    assert listed["submissions"] >= 8
    found = output(capsys, "audit", "verify", people)
    assert found["problems"] == []
    assert found["submissions"] == listed["submissions"]

    folder = tmp_path / "archive"
    written = output(capsys, "audit", "export", people, "--output", folder)
    assert written["head"] == found["head"]
    lines = [json.loads(line) for line in (folder / "labels.jsonl").read_text().splitlines()]
    assert {line["rater"] for line in lines} == {"Dr. Anna Weber"}
    assert sum(line["committed"] for line in lines if line["counts"]) == 8
    assert all(line["model"] and line["prefill"] for line in lines if line["round"])
    assert len((folder / "events.jsonl").read_text().splitlines()) == found["events"]
    assert json.loads((folder / "head.json").read_text())["sequence"] == found["events"]
    assert output(capsys, "audit", "verify", people, "--head", found["head"])["problems"] == []

    ledger = config.load(people).ledger_url.removeprefix("sqlite:///")
    with sqlite3.connect(ledger) as connection:
        connection.execute("UPDATE events SET actor = 'nobody' WHERE sequence = 5")
    connection.close()
    assert "event 5" in output(capsys, "audit", "verify", people, code=1)["problems"][0]


def waiting_in(path: Path, index: int, driver: subprocess.Popen[str]) -> None:
    """Return when the campaign waits for labels in round `index`."""
    settings = config.load(path)
    with compose.open_ledger(settings) as ledger:
        while driver.poll() is None:
            status = [one.status for one in ledger.campaigns()]
            phases = [one.phase for one in ledger.rounds(settings.name)] if status else []
            if status == ["waiting"] and len(phases) == index + 1 and phases[-1] is Phase.ASKED:
                return
            time.sleep(0.1)
    raise AssertionError(driver.communicate())


def test_a_campaign_that_waits_goes_on_by_itself_and_can_be_stopped(
    people: Path, spawn: Callable[..., subprocess.Popen[str]], capsys: Capture
) -> None:
    token = output(capsys, "raters", "add", people, "anna")["token"]
    driver = spawn("run", str(people), "--wait", "--json")
    waiting_in(people, 0, driver)
    assert drawn(people, token) == 2
    waiting_in(people, 1, driver)
    assert main(["stop", str(people), "--reason", "lunch"]) == 0
    out, _ = driver.communicate()
    assert (driver.returncode, json.loads(out)["status"], json.loads(out)["reason"]) == (0, "stopped", "lunch")
    assert output(capsys, "resume", people, code=3)["status"] == "waiting"


def test_a_token_is_said_once_and_refused_after_revoke(people: Path, capsys: Capture) -> None:
    assert main(["raters", "add", str(people), "bo", "--days", "3"]) == 0
    said = capsys.readouterr()
    token = said.out.strip()
    assert "3 days" in said.err
    assert token not in said.err
    settings = config.load(people)
    ledger = Path(settings.ledger_url.removeprefix("sqlite:///"))
    stored = b"".join(path.read_bytes() for path in ledger.parent.iterdir() if path.is_file())
    assert token.encode() not in stored
    invite = output(capsys, "raters", "add", people, "bo", "--invite", "--scope", "review")
    assert (invite["scopes"], invite["seconds"]) == (["review"], 7 * 86400)
    assert main(["raters", "revoke", str(people), "bo"]) == 0
    with compose.open_labelling(settings) as labelling:
        for use in (lambda: Roster(labelling).authenticate(token), lambda: Roster(labelling).redeem(invite["invite"])):
            with pytest.raises(Unauthenticated):
                use()
    assert output(capsys, "raters", "list", people)[0]["revoked"]
    assert main(["raters", "list", str(people)]) == 0
    assert "bo" in capsys.readouterr().out


def test_an_invite_is_a_link_when_a_server_runs(
    people: Path, spawn: Callable[..., subprocess.Popen[str]], capsys: Capture
) -> None:
    server = spawn("label", "serve", str(people), "--port", "0")
    assert server.stderr is not None
    said = server.stderr.readline()
    url = re.search(r"http://127\.0\.0\.1:\d+/", said)
    assert url, said
    found = output(capsys, "raters", "add", people, "bo", "--invite")
    assert found["url"] == f"{url[0]}#invite={found['invite']}"
    assert main(["label", "serve", str(people), "--port", "0"]) == 2
    assert f"served already at {url[0]}" in capsys.readouterr().err
    body = json.dumps({"invite": found["invite"]}).encode()
    request = urllib.request.Request(f"{url[0]}api/v1/session", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        assert json.load(answer)["rater"] == "bo"
    server.terminate()
    assert server.wait() == 0
    server.communicate()
    assert "url" not in output(capsys, "raters", "add", people, "bo", "--invite")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--host", "0.0.0.0"], "in the clear"),
        (["--tls-cert", "{file}"], "give both"),
        (["--tls-cert", "nix.pem", "--tls-key", "nix.pem"], "no file nix.pem"),
        (["--behind-proxy", "http://labels.example"], "https://labels"),
        (["--port", "70000"], "0 to 65535"),
    ],
)
def test_what_would_be_unsafe_is_not_served(people: Path, capsys: Capture, options: list[str], said: str) -> None:
    assert main(["label", "serve", str(people), *(one.format(file=people) for one in options)]) == 2
    assert said in capsys.readouterr().err


def test_a_campaign_that_asks_nobody_is_not_served(campaign: Path, capsys: Capture) -> None:
    assert main(["label", "serve", str(campaign)]) == 2
    assert "asks people" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["raters", "list"], "no ledger"),
        (["audit", "verify"], "no ledger"),
        (["audit", "export"], "no ledger"),
        (["raters", "revoke", "", "nobody"], "no ledger"),
        (["raters", "add", "", "consensus"], "a rater's name"),
        (["raters", "add", "", "bo", "--scope", "everything"], "annotate, review or admin"),
        (["audit", "verify", "", "--head", "7"], "SEQUENCE:HASH"),
    ],
)
def test_what_cannot_be_done_is_said(people: Path, capsys: Capture, arguments: list[str], said: str) -> None:
    filled = [*arguments[:2], str(people), *arguments[3:]]
    assert main(filled) == 2
    assert said in capsys.readouterr().err
