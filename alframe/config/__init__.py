"""A campaign's YAML: read with the place of every value, checked all at once, resolved and hashed."""

from alframe.config.loading import Change, changes, digest, load, loads, problems, resolved, to_yaml
from alframe.config.reference import reference
from alframe.config.schema import json_schema, plugins
from alframe.config.sections import Config, Plugin

__all__ = [
    "Change",
    "Config",
    "Plugin",
    "changes",
    "digest",
    "json_schema",
    "load",
    "loads",
    "plugins",
    "problems",
    "reference",
    "resolved",
    "to_yaml",
]
