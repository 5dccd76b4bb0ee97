"""JSON and YAML of unknown files, whose damage is always a ValueError."""

import json
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: if it is no JSON, not UTF-8, or nested deeper than Python can follow.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def parse_yaml(text: str | bytes) -> Any:
    """The value of a YAML text, of plain types only.

    Raises:
        ValueError: if it is no YAML, not UTF-8, or nested deeper than Python can follow; in one line.
    """
    import yaml  # the start of every command comes by this module, and has no use for it

    try:
        return yaml.safe_load(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(" ".join(str(error).split())) from error
