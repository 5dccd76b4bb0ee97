"""Model folders, local or from the Hugging Face hub: the only code of the package that uses a network."""

import re
from collections.abc import Sequence
from pathlib import Path

from stablenormal.errors import ModelError, OfflineError

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def resolve_model(
    id_or_path: str | Path,
    offline: bool = False,
    revision: str | None = None,
    variant: str | None = None,
    allow_patterns: Sequence[str] = (),
) -> Path:
    """Find a model's folder: a local folder if there is one of that name, else the hub's repository.

    A repository is downloaded once into the hub's own cache (`HF_HOME`), from the hub or the mirror that
    `HF_ENDPOINT` names. Only configuration and safetensors weights are fetched, never Python code or pickles.

    Args:
        id_or_path: a folder, or a hub id such as "Stable-X/yoso-normal-v1-8".
        offline: open no connection; a repository must be in the cache already.
        revision: branch, tag or commit of a repository.
        variant: fetch the weights of this name, such as "fp16" for `*.fp16.safetensors`; a repository that
            has none of it gives its plain ones.
        allow_patterns: further files to fetch, such as "*.py" where remote code was asked for.

    Returns:
        The folder.

    Raises:
        ModelError: if there is neither a folder nor a repository of that name, or the download failed.
        OfflineError: if `offline` and the repository is not in the cache.
    """
    folder = Path(id_or_path).expanduser()
    if str(id_or_path) and folder.is_dir():
        return folder
    if folder.is_file():
        raise ModelError(f"{folder}: a model is a folder, this is a file; name the folder that it lies in")
    if isinstance(id_or_path, Path) or not _HUB_ID.fullmatch(id_or_path):
        raise ModelError(f"{id_or_path}: no such folder; name a model folder or a hub id like owner/name")
    snapshot = _snapshot(id_or_path, offline, revision, variant, allow_patterns)
    if variant is None or any(snapshot.rglob(f"*.{variant}*.safetensors")):
        return snapshot
    return _snapshot(id_or_path, offline, revision, None, allow_patterns)


def _snapshot(
    repository: str, offline: bool, revision: str | None, variant: str | None, allow_patterns: Sequence[str]
) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    wanted, unwanted = _patterns(variant)
    try:
        return Path(
            snapshot_download(
                repository,
                revision=revision,
                allow_patterns=[*wanted, *allow_patterns],
                ignore_patterns=unwanted,
                local_files_only=offline,
            )
        )
    except GatedRepoError as error:
        raise ModelError(
            f"{repository}: its owner asks for consent; give it on the hub and log in"
        ) from error
    except RevisionNotFoundError as error:
        raise ModelError(
            f"{repository}: has no revision '{revision}'; choose one that the hub lists"
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"{repository}: neither a folder here nor a repository on the hub; check the name, "
            "or log in if it is private"
        ) from error
    except LocalEntryNotFoundError as error:
        if offline:
            raise OfflineError(
                f"{repository}: not in the local cache; run once without offline, or name a folder"
            ) from error
        raise ModelError(
            f"{repository}: the hub cannot be reached and the cache has no copy; name a local folder"
        ) from error
    except (HfHubHTTPError, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{repository}: the download failed ({reason}); try again") from error


def _patterns(variant: str | None) -> tuple[list[str], list[str]]:
    """Files to fetch and files not to, for weights of one variant."""
    configuration = ["*.json", "*.txt", "*.md"]
    if variant is None:
        return [*configuration, "*.safetensors"], ["*.fp16.*", "*.bf16.*", "*.non_ema.*"]
    return [*configuration, f"*.{variant}.safetensors", f"*.{variant}-*.safetensors"], []
