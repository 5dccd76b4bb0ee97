"""Weighted mixtures of training sets, in an order that the seed and the step alone decide.

Every draw has a number, step x batch + position. Which set it comes from follows a golden-ratio sequence (an
additive recurrence, H. Niederreiter, "Random Number Generation and Quasi-Monte Carlo Methods", 1992, 4.1), so
that after n draws each set was drawn weight x n times, give or take a few. Within a set every pass is a new
permutation. So any draw can be made alone: a run that stops at any step goes on with the same samples, and
processes may share the positions of a step among them.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from stablenormal.data.readers.catalogue import open_source
from stablenormal.data.sample import Sample
from stablenormal.errors import DataError, SettingError, StableNormalError
from stablenormal.io.plain_values import parse_yaml

_LOG = logging.getLogger(__name__)

DAMAGED_SHARE = 0.01
"""Share of damaged draws beyond which a mixture refuses to go on."""

SURE_AFTER = 100
"""Draws before that share is judged."""

_TRIES = 16
"""Samples of one set that may be damaged in a row."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""2^64 divided by the golden ratio."""

_BLOCK = 1 << 16
_ORIGIN, _ORDER, _REPLACEMENT = range(3)


class Samples(Protocol):
    """A set by index: a `readers.source.Source`, or anything like it."""

    keys: tuple[str, ...]

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, index: int) -> Sample:
        """One sample; a `StableNormalError` where it is damaged."""


@dataclass(frozen=True)
class SourceConfig:
    """One set of a mixture, as it stands in a configuration."""

    reader: str
    """Name of a reader, in `readers.catalogue.READERS`."""
    root: str
    """Folder of the set."""
    weight: float = 1.0
    """Share of the draws, against the other sets' weights."""
    keep: str | None = None
    """Keep-list of `stablenormal data check`."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What the reader takes besides, such as `frame`."""

    def __post_init__(self) -> None:
        if not 0 < self.weight < float("inf"):
            raise SettingError(
                f"{self.reader} {self.root}: weight {self.weight} must be positive; or leave it out"
            )

    @property
    def name(self) -> str:
        """Of the set, in logs and counts; another keep-list or other options make another set."""
        said = [f"keep={self.keep}"] if self.keep else []
        said += [f"{key}={value}" for key, value in sorted(self.options.items())]
        return " ".join([self.reader, self.root, *said])


@dataclass
class Damage:
    """What could not be read: how often, and what."""

    drawn: int = 0
    """Draws so far, replacements not counted."""
    damaged: int = 0
    """Draws that met a damaged sample, each counted once however many were tried."""
    reasons: dict[str, str] = field(default_factory=dict)
    """Set and key of every damaged sample, and why."""

    def record(self, name: str, key: str, error: Exception) -> None:
        """Count a damaged draw, log what is new, and refuse to go on with a broken set.

        Raises:
            DataError: as `check`.
        """
        self.damaged += 1
        self.note(name, key, error)
        self.check()

    def note(self, name: str, key: str, error: Exception) -> None:
        """Log a damaged sample, the first time that it is met."""
        if f"{name}, {key}" not in self.reasons:
            reason = " ".join(str(error).split())
            self.reasons[f"{name}, {key}"] = reason
            _LOG.warning("damaged sample %d, skipped: %s, %s: %s", len(self.reasons), name, key, reason)

    def check(self) -> None:
        """Refuse to go on with a broken set.

        Raises:
            DataError: if more than 1 % of at least 100 draws were damaged.
        """
        if self.drawn >= SURE_AFTER and self.damaged > DAMAGED_SHARE * self.drawn:
            first = next(iter(self.reasons.values()))
            raise DataError(
                f"{self.damaged} of {self.drawn} samples drawn are damaged, more than "
                f"{100 * DAMAGED_SHARE:g} %: {first}; run `stablenormal data check` and give its keep-list"
            )


class Mixture:
    """Sets drawn in proportion to their weights.

    Args:
        sources: the sets by name, not empty.
        weights: one positive number for each; only their proportions count.
        batch: draws per step, over all processes.

    Raises:
        SettingError: if numbers do not fit.
        DataError: if a set is empty.
    """

    def __init__(self, sources: Mapping[str, Samples], weights: Sequence[float], batch: int) -> None:
        if not sources or len(sources) != len(weights) or min(weights) <= 0 or batch < 1:
            raise SettingError(
                "a mixture needs sets, a positive weight for each and a batch of 1 or more, got "
                f"{list(sources)}, {list(weights)} and {batch}"
            )
        empty = [name for name, source in sources.items() if not len(source)]
        if empty:
            raise DataError(f"{empty[0]}: has no samples; leave it out")
        self.names = tuple(sources)
        self.batch = batch
        self.damage = Damage()
        """What was met in this process."""
        self._sources = tuple(sources.values())
        shares = np.cumsum(np.asarray(weights, np.float64)) / np.sum(weights)
        self._bounds = np.asarray(shares[:-1] * 2.0**64, np.uint64)  # (sets - 1,), of the golden sequence
        self._blocks: dict[int, list[npt.NDArray[np.int64]]] = {}
        self._order = lru_cache(maxsize=2 * len(self._sources))(self._permutation)

    @classmethod
    def open(cls, configs: Sequence[SourceConfig], batch: int) -> "Mixture":
        """List the sets of a configuration.

        Raises:
            SettingError: if a reader or an option does not exist, or a set is named twice.
            DataError: if a folder holds nothing of its set, or a keep-list does not fit.
        """
        doubles = [name for name, times in Counter(one.name for one in configs).items() if times > 1]
        if doubles:
            raise SettingError(f"{doubles[0]}: named twice; give it once, with the sum of the weights")
        sources = {one.name: open_source(one.reader, one.root, one.keep, **one.options) for one in configs}
        return cls(sources, [one.weight for one in configs], batch)

    def __len__(self) -> int:
        """Samples of all sets."""
        return sum(len(source) for source in self._sources)

    def place(self, seed: int, step: int, position: int) -> tuple[int, int]:
        """Set and sample that a draw names, before anything is read.

        Args:
            seed: of the order.
            step: from 0, without end.
            position: in [0, batch).

        Raises:
            SettingError: if a number is out of range.
        """
        if min(seed, step) < 0 or not 0 <= position < self.batch:
            raise SettingError(
                f"seed {seed} and step {step} must not be negative, position {position} in [0, {self.batch})"
            )
        number = step * self.batch + position
        chosen = int(self._sets(seed, number, number + 1)[0])
        earlier = self.counts(seed, number)[chosen]  # draws of this set before
        passes, rank = divmod(earlier, len(self._sources[chosen]))
        return chosen, int(self._order(seed, chosen, passes)[rank])

    def sample(self, seed: int, step: int, position: int) -> Sample:
        """The sample of a draw; one that is damaged is logged and replaced by another of its set.

        Args:
            seed: of the order.
            step: from 0, without end.
            position: in [0, batch).

        Raises:
            DataError: if more than 1 % of the draws are damaged, or a whole set is.
            SettingError: if a number is out of range.
        """
        chosen, index = self.place(seed, step, position)
        source, name = self._sources[chosen], self.names[chosen]
        self.damage.drawn += 1
        rng = np.random.default_rng((seed, _REPLACEMENT, step, position))
        reason = ""
        for attempt in range(_TRIES):
            try:
                return source[index]
            except (StableNormalError, OSError) as error:
                note = self.damage.record if attempt == 0 else self.damage.note
                note(name, source.keys[index], error)
                reason = str(error)
                index = int(rng.integers(len(source)))
        raise DataError(
            f"{name}: {_TRIES} samples in a row are damaged, the last one: {reason}; "
            "run `stablenormal data check` on the set"
        )

    def counts(self, seed: int, draws: int) -> list[int]:
        """How often each set is drawn among the first `draws` draws; a replacement is of the same set."""
        blocks, rest = divmod(draws, _BLOCK)
        known = self._blocks.setdefault(seed, [np.zeros(len(self._sources), np.int64)])
        while len(known) <= blocks:
            start = (len(known) - 1) * _BLOCK
            known.append(known[-1] + self._tally(self._sets(seed, start, start + _BLOCK)))
        tail = self._tally(self._sets(seed, blocks * _BLOCK, blocks * _BLOCK + rest))
        return [int(count) for count in known[blocks] + tail]

    def passes(self, seed: int, draws: int) -> dict[str, float]:
        """How often each set was gone through after `draws` draws, by name."""
        counts = self.counts(seed, draws)
        return {
            name: count / len(source)
            for name, count, source in zip(self.names, counts, self._sources, strict=True)
        }

    def _sets(self, seed: int, start: int, stop: int) -> npt.NDArray[np.int64]:
        """Which set each of the draws start to stop comes from."""
        origin = np.random.default_rng((seed, _ORIGIN)).integers(2**64, dtype=np.uint64)
        where = origin + np.arange(start, stop, dtype=np.uint64) * _GOLDEN  # modulo 2^64
        return np.searchsorted(self._bounds, where, side="right").astype(np.int64)

    def _tally(self, sets: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return np.bincount(sets, minlength=len(self._sources)).astype(np.int64)

    def _permutation(self, seed: int, chosen: int, passes: int) -> npt.NDArray[np.int64]:
        count = len(self._sources[chosen])
        return np.random.default_rng((seed, _ORDER, chosen, passes)).permutation(count)


def in_order(sources: Mapping[str, Samples], damage: Damage) -> Iterator[Sample]:
    """Every sample of every set, one set after the other; damaged ones are logged, counted and left out.

    Args:
        sources: by name.
        damage: where they are counted.

    Raises:
        DataError: if more than 1 % are damaged.
    """
    for name, source in sources.items():
        for index in range(len(source)):
            damage.drawn += 1
            try:
                sample = source[index]
            except (StableNormalError, OSError) as error:
                damage.record(name, source.keys[index], error)
                continue
            yield sample


def read_sources(path: Path) -> list[SourceConfig]:
    """The sets of a YAML file: `sources: [{reader, root, weight, keep, options}, ...]`.

    Raises:
        SettingError: if the file cannot be read, or an entry is wrong.
    """
    try:
        content = parse_yaml(path.read_bytes())
    except OSError as error:
        raise SettingError(f"{path}: cannot be read ({error.strerror}); give a YAML file") from error
    except ValueError as error:
        raise SettingError(f"{path}: not valid YAML ({error})") from error
    entries = content.get("sources") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        raise SettingError(f"{path}: has no list `sources` of reader, root, weight and keep; add one")
    return [source_config(entry, str(path)) for entry in entries]


def source_config(entry: object, where: str) -> SourceConfig:
    """One set from the keys and values of a configuration.

    Args:
        entry: a mapping of `SourceConfig`'s fields.
        where: the file, for messages.

    Raises:
        SettingError: if a key is missing or unknown, or a value wrong.
    """
    if not isinstance(entry, dict):
        raise SettingError(f"{where}: a source is reader, root, weight and keep, got {entry!r}")
    try:
        return SourceConfig(**entry)
    except TypeError as error:
        raise SettingError(
            f"{where}: source {entry}: {error}; it has reader, root, weight, keep and options"
        ) from error
