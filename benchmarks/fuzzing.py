"""Everything that reads bytes of strangers, under a coverage-guided fuzzer (atheris, which is libFuzzer for Python).

Run ``python -m benchmarks.fuzzing [--quick] [--seconds N] [--target WORDS]`` after ``pip install atheris``. Each target has a
process of its own, begins with small valid files, and may raise nothing but alframe's own errors; memory and time of one
input are limited. The full run writes docs/results/fuzzing.md; exit code 1 when something was found. Inputs of findings are left
below ``--keep``.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from alframe.testing.fuzzing.loop import caught, fuzz
from alframe.testing.fuzzing.targets import TARGETS, TOGETHER, Target

PAGE = Path(__file__).parents[1] / "docs" / "results" / "fuzzing.md"
LIBRARIES = ("alframe", "PIL", "tifffile", "nibabel", "ruamel")
"""Whose Python code is watched; what is written in C is run, but guides nothing."""
ALL = (*TARGETS, TOGETHER)
MEMORY, LONGEST, LENGTH = 4096, 30, 8192


def child(target: Target, folder: Path, seconds: int) -> None:
    """Fuzz one target in this process, which ends with it."""
    import atheris

    with atheris.instrument_imports(include=list(LIBRARIES)):
        for data in target.seeds():
            caught(target.read, data)  # what it imports on the way is watched as well
    options = [
        f"-max_total_time={seconds}",
        f"-timeout={LONGEST}",
        f"-rss_limit_mb={MEMORY}",
        f"-max_len={LENGTH}",
        f"-artifact_prefix={folder}/findings/",
        "-print_final_stats=1",
        "-seed=1",
    ]
    fuzz(target, folder / "corpus", folder / "findings", options)


def measure(index: int, folder: Path, seconds: int) -> dict[str, Any]:
    """Fuzz a target in a process of its own; its numbers."""
    for name in ("corpus", "findings"):
        (folder / name).mkdir(parents=True)
    command = [sys.executable, "-m", "benchmarks.fuzzing", "--one", str(index), "--folder", str(folder)]
    command += ["--seconds", str(seconds)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    text = done.stdout.decode(errors="replace")
    covered = [int(number) for number in re.findall(r"^#\d+\s+\w+\s+cov: (\d+)", text, re.MULTILINE)]
    units = re.search(r"stat::number_of_executed_units: (\d+)", text)
    found = [path.read_text().splitlines() for path in sorted((folder / "findings").glob("*.txt"))]
    found += [[path.name.partition("-")[0], path.name] for path in sorted((folder / "findings").glob("*-*"))]
    if done.returncode and not found:
        found.append([f"exit code {done.returncode}", text[-2000:]])
    return {
        "target": ALL[index].name,
        "executions": int(units[1]) if units else 0,
        "begun": covered[0] if covered else 0,
        "coverage": covered[-1] if covered else 0,
        "corpus": len(list((folder / "corpus").iterdir())),
        "findings": found,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown, one line for each target."""
    lines = [
        "| what reads | executions | coverage of the valid files | at the end | findings |",
        "|---|---:|---:|---:|---:|",
    ]
    for row in rows:
        cells = [row["target"], *(f"{row[name]:,}" for name in ("executions", "begun", "coverage"))]
        lines.append("| " + " | ".join([*cells, str(len(row["findings"]))]) + " |")
    return "\n".join(lines)


def page(rows: list[dict[str, Any]], seconds: int) -> str:
    """The results page."""
    total = sum(row["executions"] for row in rows)
    count = sum(len(row["findings"]) for row in rows)
    machine = f"{platform.machine()} with {os.cpu_count()} cores, Python {platform.python_version()}"
    return f"""# Fuzzing: damaged and hostile input

From `python -m benchmarks.fuzzing`, on {machine}, atheris {version("atheris")}. Do not edit: run it again.

Each of {len(rows)} readers was given {seconds} seconds of inputs that the fuzzer grew from small valid files, guided by the
coverage of the Python code of {", ".join(LIBRARIES)}: {total:,} in all. A reader may return a value or
raise an error of alframe. A finding is any other error, more than {MEMORY:,} MiB of memory, more than {LONGEST} s for one input of
at most {LENGTH:,} bytes, or the end of the process. There were {count}.

{table(rows)}

- Coverage counts the places in Python code that were reached. Code in C (zlib, libjpeg, libtiff, pyarrow, safetensors, torch)
  is run and may crash the process, but guides nothing.
- Where a checksum would stop every mutation (gzip, the digests of snapshots and manifests) the harness computes it anew, as an
  attacker would.
- A short run of all targets is part of `make slow`; what was found is kept as a test of its own (`tests/hostile/`).

{FOUND}"""


FOUND = """\
- NIfTI: nobody looked at where the header says that voxels begin, and at the sizes of its extensions. Half a megabyte of gzip
  could make the library read gigabytes. Extensions are no longer parsed; voxels must begin within the first 16 MiB.
- TIFF: 262 bytes whose chain of pages is broken off kept the library busy for ever. An OME description could take pixels from
  any other TIFF that the process may read. The chain is counted first; other files are not opened.
- Checkpoints: a file of some kilobytes could describe a network of any size, which was built before its weights were compared.
  Now names and shapes are compared first, without memory.
- Brush codes of Label Studio: a number in place of the list was taken for a number of zeros to make. The shape of an annotation
  is checked as a whole.
- Wrong errors came out of uploaded NIfTI that is cut off, Parquet text that is no Unicode, snapshots with a correct digest, and
  a checkpoint of seven dimensions.
- Stored tables: the footer says twice how many rows there are, and only one was compared with the limit. 669 bytes asked
  for 150 GiB.
- The last two are the findings of the full run of 26 November. After the repair each target ran for another 120 s:
  67,401 checkpoints and 4,237,400 tables, nothing found.
"""


def main() -> None:
    """Fuzz, print, and write the page after a full run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="3 seconds a target; the page is not written")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--target", default="", help="only targets whose name holds this; the page is not written")
    parser.add_argument("--together", action="store_true", help="all targets in one process; the page is not written")
    parser.add_argument("--keep", type=Path, help="a new folder for the corpus and the findings of each target")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.keep is not None and asked.one is None and asked.keep.exists() and any(asked.keep.iterdir()):
        parser.error(f"--keep expects a new or an empty folder, and {asked.keep} holds earlier findings")
    if importlib.util.find_spec("atheris") is None:
        print("nothing was fuzzed: atheris is not installed (pip install atheris; Linux, Python 3.11 to 3.13)")
        return
    if asked.one is not None:
        child(ALL[asked.one], asked.folder, asked.seconds)
    seconds = 3 if asked.quick else asked.seconds
    rows = []
    with tempfile.TemporaryDirectory(prefix="alframe-fuzzing-") as name:
        for index, target in enumerate(ALL):
            if (target is TOGETHER) == asked.together and asked.target in target.name:
                rows.append(measure(index, (asked.keep or Path(name)) / str(index), seconds))
                print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    print(table(rows))
    print(json.dumps({"benchmark": "fuzzing", "seconds": seconds, "rows": rows}))
    if not (asked.quick or asked.target or asked.together):
        PAGE.write_text(page(rows, seconds), encoding="utf-8")
    sys.exit(1 if any(row["findings"] for row in rows) else 0)


if __name__ == "__main__":
    main()
