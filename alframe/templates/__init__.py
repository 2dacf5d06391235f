"""Commented configurations to start from."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from alframe.errors import ConflictError, InvalidValue

__all__ = ["names", "write"]


def names() -> tuple[str, ...]:
    """The templates there are."""
    folder = resources.files(__name__)
    return tuple(sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")))


def write(name: str, path: Path, *, replace: bool = False) -> None:
    """Copy a template to `path`.

    Raises:
        InvalidValue: when there is no such template.
        ConflictError: when `path` exists and `replace` is False.
    """
    if name not in names():
        raise InvalidValue(f"no template {name!r}; there are {', '.join(names())}")
    text = resources.files(__name__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    try:
        with path.open("w" if replace else "x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError as error:
        raise ConflictError(f"{path} exists; give another name, or --force to replace it") from error
