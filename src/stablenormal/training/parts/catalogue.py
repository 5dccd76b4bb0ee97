"""The parts by name: whose settings a file holds, and which part has a setting."""

import difflib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from stablenormal.errors import SettingError
from stablenormal.training.parts.angular import AngularSettings
from stablenormal.training.parts.autoencoder import AutoencoderSettings
from stablenormal.training.parts.field_of_view import FieldOfViewSettings
from stablenormal.training.parts.refiner import RefinerSettings
from stablenormal.training.parts.self_distillation import SelfDistillationSettings
from stablenormal.training.parts.semantic_labels import SemanticLabelsSettings
from stablenormal.training.parts.upsampler import UpsamplerSettings
from stablenormal.training.parts.yoso import YosoSettings
from stablenormal.training.settings import TrainingSettings

PARTS: Mapping[str, type[TrainingSettings]] = {
    "autoencoder": AutoencoderSettings,
    "semantic": SemanticLabelsSettings,
    "upsampler": UpsamplerSettings,
    "yoso": YosoSettings,
    "refiner": RefinerSettings,
    "angular": AngularSettings,
    "field_of_view": FieldOfViewSettings,
}
"""The settings of each part, by its name in files and on the command line."""

SUPERVISIONS: Mapping[str, type[TrainingSettings]] = {
    "labels": SemanticLabelsSettings,
    "self_distillation": SelfDistillationSettings,
}
"""The two ways to train part `semantic`; a file says which by `supervision`, labels where it says nothing."""

NAMING = ("part", "supervision")
"""Keys of a file that choose a class of settings, not a value."""


def check_part(part: object) -> None:
    """Refuse a part that does not exist.

    Raises:
        SettingError: naming the nearest one.
    """
    if part not in PARTS:
        near = difflib.get_close_matches(str(part), PARTS, n=1, cutoff=0.0)
        raise SettingError(
            f"unknown part {part!r}; did you mean {near[0]!r}? Choose one of {', '.join(PARTS)}"
        )


def settings_class(content: Mapping[str, Any]) -> type[TrainingSettings]:
    """The settings that the keys of a file are for.

    Raises:
        SettingError: if they name no part, or one that does not exist.
    """
    if "part" not in content:
        raise SettingError(f"part is missing; choose one of {', '.join(PARTS)}")
    part = content["part"]
    check_part(part)
    supervision = content.get("supervision", "labels")
    if supervision not in SUPERVISIONS:
        raise SettingError(f"unknown supervision {supervision!r}; choose one of {', '.join(SUPERVISIONS)}")
    if part == "semantic":
        return SUPERVISIONS[supervision]
    if "supervision" in content:
        raise SettingError(f"part {part!r} has no setting 'supervision'; part 'semantic' has it")
    return PARTS[part]


def owners(key: str) -> list[str]:
    """The parts that have a setting of this name, in words."""
    kinds = dict.fromkeys([*PARTS.values(), *SUPERVISIONS.values()])
    return [_in_words(kind) for kind in kinds if key in {field.name for field in fields(kind)}]


def is_of_every_part(content: Mapping[str, Any]) -> bool:
    """Whether a file has settings of every part, as one did before each part had its own."""
    kinds = dict.fromkeys([*PARTS.values(), *SUPERVISIONS.values()])
    shared = {field.name for field in fields(TrainingSettings)}
    owned = [{field.name for field in fields(kind)} - shared for kind in kinds]
    return all(content.keys() & names for names in owned if names)


def _in_words(kind: type[TrainingSettings]) -> str:
    more = [f"{key}: {value}" for key, value in kind.keys.items() if key != "part"]
    return " with ".join([f"part {kind.keys['part']!r}", *more])
