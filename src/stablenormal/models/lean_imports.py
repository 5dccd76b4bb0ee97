"""Imports diffusers and transformers without the hundred models that this package never builds.

Importing one model class of diffusers runs the `__init__` of `diffusers.models.transformers`, which imports
every transformer there is, and likewise every autoencoder, denoiser and hook. Inside `lean_imports` some
packages let their submodules be imported without running their own `__init__`. It runs when anybody first
asks for a name that is not there yet, so nothing is missing for other users in the same process.

What stays is the compiler, `torch._dynamo`: transformers imports parts of it for each of its models, and they
cannot be put off, as they import each other in circles when they are entered at another place.
"""

import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

_LAZY_PACKAGES = frozenset(
    [
        "diffusers.hooks",
        "diffusers.models.autoencoders",
        "diffusers.models.controlnets",
        "diffusers.models.transformers",
        "diffusers.models.unets",
        "scipy.stats",  # schedulers of diffusers import it for one option
    ]
)


@contextmanager
def lean_imports() -> Iterator[None]:
    """Let the block import diffusers quickly; what was imported before stays as it is.

    Meanwhile the garbage collector rests: a fifth of the time it would look, again and again, at classes and
    functions that stay.
    """
    finder, collects = _Finder(), gc.isenabled()
    sys.meta_path.insert(0, finder)
    gc.disable()
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        if collects:
            gc.enable()


class _Finder(MetaPathFinder):
    """Finds what is put off, and nothing else."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in _LAZY_PACKAGES:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return None
        spec.loader = _PackageLoader(spec.loader)
        return spec


class _PackageLoader(Loader):
    """Makes a package whose own code waits for the first name that it lacks."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _LazyPackage(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._loader


class _LazyPackage(ModuleType):
    """A package that has run nothing; its submodules can be imported.

    A name that it lacks makes it run its code and become a module like any other.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        self._run()
        return getattr(self, name)

    def __dir__(self) -> list[str]:
        self._run()
        return dir(self)

    def _run(self) -> None:
        self.__class__ = ModuleType  # type: ignore[assignment]  # what lacks a name from now on, lacks it
        assert self.__spec__ is not None and self.__spec__.loader is not None
        self.__spec__.loader.exec_module(self)
