"""A training's settings as a YAML file: flat keys, the part's own among those that all parts share.

The frozen classes of the settings check themselves, and what is read here is a key's type and a hint at the
right key or part. A validation library would need these hints as code too, so there is none.
"""

import difflib
import re
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar, get_origin

import yaml

from stablenormal.data.mixture import source_config
from stablenormal.errors import SettingError
from stablenormal.io.atomic import write_bytes
from stablenormal.io.plain_values import parse_yaml
from stablenormal.training.parts import catalogue
from stablenormal.training.settings import Stage, TrainingSettings

Built = TypeVar("Built")

_POWER_OF_TEN = re.compile(r"[-+]?\d+[eE][-+]?\d+")
"""Such as 2e-3, which YAML 1.1 takes for a text because it has no point."""


def read_settings(path: Path, part: str | None = None, changes: Sequence[str] = ()) -> TrainingSettings:
    """Read a training's settings from YAML.

    Args:
        path: the YAML file; its keys are `part` and the fields of that part's settings.
        part: if given, the part that the file must be for.
        changes: each `KEY=VALUE` in place of what the file says; the value is YAML too.

    Raises:
        SettingError: if the file cannot be read, a key does not exist (the nearest is named, or the part that
            has it) or a value is wrong.
    """
    if part is not None:
        catalogue.check_part(part)
    content = _read_yaml(path)
    if catalogue.is_of_every_part(content):
        raise SettingError(
            f"{path}: is of an earlier version, which kept the settings of all parts in one file; its "
            "checkpoints do not go on here: give the file that the training began with, and a new run folder"
        )
    content |= dict(_change(text) for text in changes)
    try:
        kind = catalogue.settings_class(content)
        if part is not None and kind.keys["part"] != part:
            raise SettingError(f"is for part {kind.keys['part']!r}, not {part!r}")
        own = {key: value for key, value in content.items() if key not in catalogue.NAMING}
        return _build(kind, own | _lists(own))
    except SettingError as error:
        raise SettingError(f"{path}: {error}") from error


def write_settings(settings: TrainingSettings, path: Path) -> None:
    """Write settings as YAML that `read_settings` reads back equal."""
    content = dict(settings.keys) | asdict(settings)
    content["stages"] = [asdict(stage) for stage in settings.stages]
    content["sources"] = [asdict(source) for source in settings.sources]
    write_bytes(path, yaml.safe_dump(content, sort_keys=False).encode())


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = parse_yaml(path.read_bytes())
    except OSError as error:
        raise SettingError(f"{path}: cannot be read ({error.strerror}); give a YAML file") from error
    except ValueError as error:
        raise SettingError(f"{path}: not valid YAML ({error})") from error
    if not isinstance(content, dict):
        raise SettingError(f"{path}: expected keys and values, got {type(content).__name__}")
    return content


def _change(text: str) -> tuple[str, Any]:
    """Key and value of one `KEY=VALUE`."""
    key, sign, value = text.partition("=")
    if not sign or not key.isidentifier():
        raise SettingError(f"{text}: expected KEY=VALUE, such as learning_rate=0.001")
    try:
        return key, parse_yaml(value)
    except ValueError as error:
        raise SettingError(f"{text}: the value is not valid YAML ({error})") from error


def _lists(content: dict[str, Any]) -> dict[str, Any]:
    """The stages and sources of a file, built; `data` is empty where sources stand in its place."""
    stages, sources = content.get("stages", []), content.get("sources", [])
    if not isinstance(stages, list):
        raise SettingError("stages must be a list of (size, steps, batch)")
    if not isinstance(sources, list):
        raise SettingError("sources must be a list of (reader, root, weight)")
    built: dict[str, Any] = {
        "stages": tuple(_build(Stage, stage) for stage in stages),
        "sources": tuple(source_config(source, "sources") for source in sources),
    }
    others = sources or content.get("tokens")
    return built | ({"data": ""} if others and "data" not in content else {})


def _build(kind: type[Built], values: Any) -> Built:
    if not isinstance(values, dict):
        raise SettingError(f"expected the keys of {kind.__name__}, got {values!r}")
    types = {field.name: field.type for field in fields(kind)}  # type: ignore[arg-type]
    taken = {}
    for key, value in values.items():
        if key not in types:
            raise SettingError(_unknown(str(key), list(types), kind))
        taken[key] = _as_type(key, value, types[key])
    try:
        return kind(**taken)
    except TypeError as error:
        raise SettingError(str(error)) from error


def _as_type(key: str, value: Any, wanted: Any) -> Any:
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if wanted is float and isinstance(value, str) and _POWER_OF_TEN.fullmatch(value):
        return float(value)
    if get_origin(wanted) is tuple and isinstance(value, list | tuple):
        return tuple(value)
    if isinstance(wanted, type) and (
        not isinstance(value, wanted) or isinstance(value, bool) != (wanted is bool)
    ):
        raise SettingError(f"{key} must be {wanted.__name__}, got {value!r}")
    return value


def _unknown(key: str, known: list[str], kind: type) -> str:
    owners = catalogue.owners(key)
    if owners and issubclass(kind, TrainingSettings):
        verb = "has" if len(owners) == 1 else "have"
        return f"part {kind.keys['part']!r} has no setting {key!r}; {' and '.join(owners)} {verb} it"
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
    return f"no setting is named {key!r}; did you mean {near[0]!r}?"
