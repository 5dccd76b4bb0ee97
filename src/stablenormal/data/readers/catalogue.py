"""Readers by name."""

import difflib
from dataclasses import fields
from pathlib import Path
from typing import Any

from stablenormal.data.readers.conventions import CONVENTIONS
from stablenormal.data.readers.folder import Folder
from stablenormal.data.readers.hypersim import Hypersim
from stablenormal.data.readers.interiorverse import InteriorVerse
from stablenormal.data.readers.ken_burns import KenBurns
from stablenormal.data.readers.objaverse import Objaverse
from stablenormal.data.readers.replica import Replica
from stablenormal.data.readers.sintel import Sintel
from stablenormal.data.readers.source import Source
from stablenormal.data.readers.tar_shards import TarShards
from stablenormal.data.readers.vkitti import VirtualKitti
from stablenormal.errors import SettingError

READERS: dict[str, type[Source[Any]]] = {
    source.reader: source
    for source in (
        Hypersim, InteriorVerse, VirtualKitti, Sintel, Replica, KenBurns, Objaverse, Folder, TarShards,
    )
}  # fmt: skip


def open_source(reader: str, root: Path | str, keep: Path | str | None = None, **options: Any) -> Source[Any]:
    """List a set on disk.

    Args:
        reader: a name in `READERS`.
        root: folder of the set.
        keep: keep-list, as `stablenormal data check` writes it.
        options: what the reader's class takes besides, such as `frame`; text is read as the type of the
            option.

    Raises:
        SettingError: if the reader or an option does not exist; the nearest is named.
        DataError: if nothing of the set's layout is below `root`, or the keep-list does not fit.
    """
    if reader not in READERS:
        near = difflib.get_close_matches(reader, READERS, n=1, cutoff=0.4)
        hint = f"did you mean '{near[0]}'? There are" if near else "choose one of"
        raise SettingError(f"unknown reader '{reader}'; {hint} {', '.join(READERS)}")
    source = READERS[reader]
    known = _options(source)
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
            hint = f"did you mean '{near[0]}'? It" if near else "it"
            raise SettingError(f"{reader} has no option '{name}'; {hint} has {', '.join(known) or 'none'}")
    typed = {name: _typed(name, value, known[name]) for name, value in options.items()}
    return source(Path(root), None if keep is None else Path(keep), **typed)


def _options(source: type[Source[Any]]) -> dict[str, Any]:
    """What may be said of a set beside its place, with the type of each; derived normals have no frame."""
    derived = CONVENTIONS[source.reader].derived
    elsewhere = {"root", "keep", "frame"} if derived else {"root", "keep"}
    return {option.name: option.type for option in fields(source) if option.name not in elsewhere}


def _typed(name: str, value: Any, kind: Any) -> Any:
    """Text of the command line or of a configuration as the type that the option has."""
    kinds = getattr(kind, "__args__", (kind,))
    if not isinstance(value, str) or str in kinds:
        return value
    try:
        if bool in kinds:
            return {"true": True, "false": False}[value.lower()]
        return next(one for one in kinds if one in (int, float))(value)
    except (ValueError, KeyError) as error:
        raise SettingError(f"option {name} is {value!r}; give {kind}") from error
