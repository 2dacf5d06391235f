"""Documents under test: the fenced blocks of Markdown pages, and what it means that each of them is right.

A ``python`` block runs; the blocks of a page share one namespace. A ``yaml`` block is a campaign, or a part of one, without
a problem. A comment on the line before the fence, ``<!-- tests: REASON -->``, says why a block cannot run as it stands:
then it must still parse, and what it imports from alframe must exist.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alframe.errors import InvalidValue

__all__ = ["Block", "blocks", "broken_links", "check_python", "check_yaml", "commands", "run_python"]

_FENCE = re.compile(r"^(?P<indent> *)```(?P<info>.*)$")
_EXCUSE = re.compile(r"^\s*<!-- tests:(?P<reason>.*)-->\s*$")
_LINK = re.compile(r"(?<!`)\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_CALL = re.compile(r"^\s*(?:\$ )?(?P<program>alframe|make|python -m)\s+(?P<what>[\w.]+)")

# what a page that shows only a part of a campaign leaves out
_REST = {
    "name": "name: page",
    "learner": "learner: {type: mc_dropout}",
    "strategy": "strategy: {type: random}",
    "batch": "batch: 4",
    "oracle": "oracle: {type: simulated}",
    "budget": "budget: {rounds: 2}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block: its text, the line of its first line of text (from 1), and why it is not run (empty: it is)."""

    page: str
    line: int
    language: str
    text: str
    excuse: str = ""

    @property
    def place(self) -> str:
        """``page:line`` for messages."""
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> tuple[Block, ...]:
    """The fenced blocks of a Markdown page, in order.

    Raises:
        InvalidValue: when a fence is not closed, or an excuse gives no reason.
    """
    found: list[Block] = []
    lines = page.read_text(encoding="utf-8").splitlines()
    opened: tuple[int, str, str, str] | None = None
    for number, line in enumerate(lines, 1):
        fence = _FENCE.match(line)
        if fence is None:
            continue
        if opened is None:
            words = fence["info"].split()
            excuse = _excuse(page, number - 1, lines[number - 2] if number > 1 else "")
            opened = (number + 1, fence["indent"], words[0] if words else "", excuse)
        elif not fence["info"].strip():
            first, indent, language, excuse = opened
            text = "\n".join(each.removeprefix(indent) for each in lines[first - 1 : number - 1]) + "\n"
            found.append(Block(page=page.name, line=first, language=language, text=text, excuse=excuse))
            opened = None
    if opened is not None:
        raise InvalidValue(f"{page.name}:{opened[0] - 1}: a fence that is never closed")
    return tuple(found)


def _excuse(page: Path, number: int, line: str) -> str:
    match = _EXCUSE.match(line)
    if match is None:
        return ""
    reason = match["reason"].strip()
    if not reason:
        raise InvalidValue(f"{page.name}:{number}: say why this block is not tested: <!-- tests: REASON -->")
    return reason


def run_python(page: Sequence[Block]) -> dict[str, Any]:
    """Run the Python blocks of one page in one namespace, in the current folder; the namespace they leave.

    An error has the page's own line numbers. Blocks with an excuse go through :func:`check_python` instead.
    """
    namespace: dict[str, Any] = {"__name__": "__page__"}
    for block in page:
        if block.language == "python" and not block.excuse:
            exec(_compiled(block), namespace)
        elif block.language == "python":
            check_python(block)
    return namespace


def _compiled(block: Block) -> Any:
    return compile("\n" * (block.line - 1) + block.text, block.page, "exec", dont_inherit=True)


def check_python(block: Block) -> None:
    """Parse a block and look up what it imports from alframe.

    Raises:
        InvalidValue: when alframe has no such module or name.
        SyntaxError: when the block is not Python.
    """
    _compiled(block)
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "alframe":
            names = [(node.module or "", alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [(alias.name, "") for alias in node.names if alias.name.partition(".")[0] == "alframe"]
        else:
            continue
        for module, name in names:
            if not _exists(module, name):
                raise InvalidValue(f"{block.place}: there is no {f'{name} in ' if name else ''}{module}")


def _exists(module: str, name: str) -> bool:
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError:
        return False
    return not name or hasattr(found, name) or _exists(f"{module}.{name}", "")


def check_yaml(block: Block, folder: Path) -> None:
    """Check a campaign, or a part of one: the sections that the block leaves out are filled in.

    With an excuse (a file that is no campaign) the block must only be YAML.

    Raises:
        ProblemsError: with the page's lines.
        InvalidValue: when an excused block is not YAML.
    """
    from alframe.config import loads

    if block.excuse:
        _check_syntax(block)
        return
    given = set(re.findall(r"^(\w+):", block.text, re.MULTILINE))
    rest = [line for key, line in _REST.items() if key not in given]
    above = "\n" * (block.line - 1)
    # the rest goes below, so that every line of the block keeps its number
    loads(above + block.text + "\n".join(rest) + "\n", name=block.page, folder=folder)


def _check_syntax(block: Block) -> None:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        list(YAML(typ="safe").load_all(block.text))
    except YAMLError as error:
        raise InvalidValue(f"{block.place}: this is not YAML: {error}") from error


def commands(block: Block) -> tuple[tuple[str, str], ...]:
    """``(program, first word)`` of each line of a shell block that calls ``alframe``, ``make`` or ``python -m``."""
    calls = (_CALL.match(line) for line in block.text.splitlines())
    return tuple((call["program"], call["what"]) for call in calls if call)


def broken_links(page: Path) -> tuple[str, ...]:
    """Relative links of a page that lead nowhere."""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    targets = (match["target"].partition("#")[0] for match in _LINK.finditer(text))
    local = (target for target in targets if target and "://" not in target and not target.startswith("mailto:"))
    return tuple(sorted({target for target in local if not (page.parent / target).exists()}))
