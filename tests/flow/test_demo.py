"""What `make demo` runs: two real campaigns on generated histology, and their report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from alframe import compose, config, demo
from alframe.errors import ConflictError
from alframe.types import Phase


def test_the_arms_differ_in_their_strategy_only(tmp_path: Path) -> None:
    one, two = (config.resolved(config.load(path)) for path in demo.prepare(tmp_path / "demo"))
    assert {key for key in one if one[key] != two[key]} == {"name", "strategy"}
    assert one["budget"]["rounds"] >= 4
    assert one["strategy"]["window"] == two["strategy"]["window"]


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(ConflictError, match=r"thesis\.tex"):
        demo.prepare(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(900)
def test_the_demo_ends_with_a_report_and_can_be_repeated(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    program = "import sys; from alframe.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "demo", str(folder), "--json"]
    outputs = []
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), check=False)
        assert done.returncode == 0, done.stderr
        outputs.append(json.loads(done.stdout))
    assert outputs[0] == outputs[1] == {"report": str(folder / "report.html")}
    assert (folder / "report.html").stat().st_size > 100_000
    settings = [config.load(folder / f"{name}.yaml") for name in demo.ARMS]
    ledger = compose.open_ledger(settings[0])
    initial = []
    for one in settings:
        rounds = ledger.rounds(one.name)
        assert [r.phase for r in rounds] == [Phase.DONE] * 6
        assert sum(r.acquire for r in rounds) == 5
        initial.append([(q.item, q.box) for q in ledger.queries(one.name, 0)])
        dice = [
            m.value
            for _, m in ledger.metrics(one.name)
            if (m.name, m.scope, m.label, m.statistic) == ("dice", "test", "", "pooled")
        ]
        assert len(dice) == 5
        assert min(value or 0.0 for value in dice) > 0.8
    assert initial[0] == initial[1]
