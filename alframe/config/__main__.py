"""Prints the configuration reference: ``python -m alframe.config > docs/reference/configuration.md``."""

from __future__ import annotations

import sys

from alframe.config.reference import reference

if __name__ == "__main__":
    sys.stdout.write(reference())
