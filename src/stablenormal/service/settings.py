"""What the service allows, checked before anything is loaded."""

import os
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path

from stablenormal.errors import SettingError, argument

TOKENS_VARIABLE = "STABLENORMAL_TOKENS"
"""Environment variable with the tokens, separated by blanks."""

SHORTEST_TOKEN = 16
"""Characters; shorter ones can be guessed."""


@dataclass(frozen=True)
class Limits:
    """How much one request, and all of them together, may ask for.

    Raises:
        SettingError: when made with a number that is too small.
    """

    queue: int = 32
    """Requests that are read, wait or run at the same time; who comes then is told to come again."""
    batch_size: int = 4
    """Photographs that go through the network together."""
    batch_wait_ms: int = 5
    """How long a photograph waits for others to go with."""
    max_mb: int = 64
    """Size of a request, in units of 2^20 bytes; of an archive also what is unpacked from it."""
    max_megapixels: int = 40
    """Size of a photograph in millions of pixels, read from its header."""
    max_photographs: int = 64
    """In one batch."""
    timeout_s: float = 120.0
    """From the first byte of a request to the last of its answer."""
    upload_timeout_s: float = 30.0
    """Of it, for the request to arrive."""

    def __post_init__(self) -> None:
        """Refuse what would refuse everybody."""
        for name, least in (
            ("queue", 1), ("batch_size", 1), ("batch_wait_ms", 0), ("max_mb", 1), ("max_megapixels", 1),
            ("max_photographs", 1), ("timeout_s", 1), ("upload_timeout_s", 1),
        ):  # fmt: skip
            value = getattr(self, name)
            if value < least:
                option = f"--{name.removesuffix('_s').replace('_', '-')}"
                raise SettingError(f"{option}: {value} is too small; use {least} or more")

    @property
    def max_bytes(self) -> int:
        """Of a request."""
        return self.max_mb * 2**20

    @property
    def max_pixels(self) -> int:
        """Of a photograph."""
        return self.max_megapixels * 10**6


class Tokens:
    """The secrets that open the service; only their hashes are kept."""

    def __init__(self, tokens: list[str]) -> None:
        self._hashes = [sha256(token.encode()).digest() for token in tokens]

    def __bool__(self) -> bool:
        """Whether there are any; without, the service is open."""
        return bool(self._hashes)

    def __repr__(self) -> str:
        return f"Tokens({len(self._hashes)} of them)"

    def opened_by(self, given: str) -> bool:
        """Whether a token is one of them; the time that takes says nothing about which, or how nearly."""
        asked = sha256(given.encode("utf-8", "surrogateescape")).digest()
        return sum([compare_digest(asked, known) for known in self._hashes]) > 0


def read_tokens(file: Path | None) -> Tokens:
    """The tokens of a file, one a line, `#` before remarks, and of the environment variable.

    Raises:
        SettingError: if the file cannot be read or holds none, or a token is too short or not plain.
    """
    tokens = os.environ.get(TOKENS_VARIABLE, "").split()
    where = TOKENS_VARIABLE
    if file is not None:
        where = f"{argument('tokens')}: {file}"
        try:
            lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
        except (OSError, ValueError) as error:
            raise SettingError(f"{where}: cannot be read; write one token a line as plain text") from error
        tokens += [line for line in lines if line and not line.startswith("#")]
        if not tokens:
            raise SettingError(f"{where}: holds no token; write one a line, or leave the option out")
    for token in tokens:  # which is never repeated in a message
        if len(token) < SHORTEST_TOKEN:
            raise SettingError(f"{where}: a token has {len(token)} characters; use {SHORTEST_TOKEN} or more")
        if not token.isascii() or not token.isprintable() or " " in token:
            raise SettingError(f"{where}: a token has blanks or special characters; use letters and digits")
    return Tokens(tokens)
