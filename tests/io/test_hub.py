import socket
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants, errors

from stablenormal.errors import ModelError, OfflineError
from stablenormal.io.hub import resolve_model

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache in place of the user's."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    return folder


@pytest.fixture
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which opening a socket is a mistake of ours, not a lost connection."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "__init__", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def download(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
    """What the hub was asked for, without asking."""
    calls: list[dict[str, Any]] = []

    def record(repository: str, **options: Any) -> str:
        calls.append({"repository": repository, **options})
        return str(tmp_path / "snapshot")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", record)
    return calls


def in_cache(cache: Path) -> Path:
    """A repository `owner/name` in the cache's own layout."""
    repository = cache / "models--owner--name"
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "model_index.json").write_text("{}")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    return snapshot


@pytest.mark.usefixtures("no_sockets")
class TestWithoutNetwork:
    @pytest.mark.parametrize("offline", [True, False])
    def test_a_local_folder_wins(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path, offline: bool
    ) -> None:
        in_cache(cache)
        (tmp_path / "owner" / "name").mkdir(parents=True)
        monkeypatch.chdir(tmp_path)
        assert resolve_model("owner/name", offline=offline) == Path("owner/name")
        assert resolve_model(tmp_path / "owner" / "name", offline=offline) == tmp_path / "owner" / "name"

    def test_offline_takes_what_the_cache_has(self, cache: Path) -> None:
        snapshot = in_cache(cache)
        assert resolve_model("owner/name", offline=True) == snapshot
        assert resolve_model("owner/name", offline=True, revision=COMMIT) == snapshot

    def test_offline_without_a_copy_says_what_to_do(self) -> None:
        with pytest.raises(
            OfflineError, match="owner/name: not in the local cache; run once without offline"
        ):
            resolve_model("owner/name", offline=True)

    def test_offline_without_that_revision(self, cache: Path) -> None:
        in_cache(cache)
        with pytest.raises(OfflineError):
            resolve_model("owner/name", offline=True, revision="v2")

    @pytest.mark.parametrize(
        "name", ["/no/such/folder", "./model", "a/b/c", "~/model-that-is-not-there", "a b", ""]
    )
    def test_a_path_is_never_looked_up_on_the_hub(self, name: str) -> None:
        with pytest.raises(ModelError, match="no such folder"):
            resolve_model(name)

    def test_a_path_object_is_never_looked_up_on_the_hub(self) -> None:
        with pytest.raises(ModelError, match="no such folder"):
            resolve_model(Path("owner/name"))

    def test_a_file_is_no_model(self, tmp_path: Path) -> None:
        (tmp_path / "model.safetensors").touch()
        with pytest.raises(ModelError, match="a model is a folder, this is a file"):
            resolve_model(tmp_path / "model.safetensors")


class TestDownload:
    def test_options_reach_the_hub(self, download: list[dict[str, Any]], tmp_path: Path) -> None:
        assert resolve_model("owner/name", revision="v2") == tmp_path / "snapshot"
        assert download[0]["repository"] == "owner/name"
        assert download[0]["revision"] == "v2"
        assert download[0]["local_files_only"] is False

    @pytest.mark.parametrize(
        ("variant", "wanted", "unwanted"),
        [
            (
                None,
                ["unet/x.safetensors", "unet/config.json"],
                ["unet/x.fp16.safetensors", "unet/x.bin", "a.py"],
            ),
            (
                "fp16",
                ["unet/x.fp16.safetensors", "unet/config.json"],
                ["unet/x.safetensors", "unet/x.bin", "a.py"],
            ),
            ("fp16", ["unet/x.fp16-00001-of-00002.safetensors"], ["unet/x.fp16.bin"]),
        ],
    )
    def test_which_files_are_fetched(
        self, download: list[dict[str, Any]], variant: str | None, wanted: list[str], unwanted: list[str]
    ) -> None:
        resolve_model("owner/name", variant=variant)

        def fetched(file: str) -> bool:
            allowed, ignored = download[0]["allow_patterns"], download[0]["ignore_patterns"]
            return any(fnmatch(file, p) for p in allowed) and not any(fnmatch(file, p) for p in ignored)

        assert all(fetched(file) for file in wanted)
        assert not any(fetched(file) for file in unwanted)

    @pytest.mark.parametrize(("files", "calls"), [(["unet/x.fp16.safetensors"], 1), (["config.json"], 2)])
    def test_plain_weights_stand_in_for_a_variant_that_does_not_exist(
        self, download: list[dict[str, Any]], tmp_path: Path, files: list[str], calls: int
    ) -> None:
        for file in files:
            (tmp_path / "snapshot" / file).parent.mkdir(parents=True)
            (tmp_path / "snapshot" / file).touch()
        resolve_model("owner/name", variant="fp16")
        assert len(download) == calls
        assert ("*.safetensors" in download[-1]["allow_patterns"]) == (calls == 2)

    def test_code_is_fetched_only_on_request(self, download: list[dict[str, Any]]) -> None:
        resolve_model("owner/name", allow_patterns=["*.py"])
        assert "*.py" in download[0]["allow_patterns"]

    @pytest.mark.parametrize(
        ("error", "words"),
        [
            (errors.LocalEntryNotFoundError("no connection"), "the hub cannot be reached"),
            (OSError(28, "No space left on device"), "the download failed .*No space left"),
            ("RepositoryNotFoundError", "neither a folder here nor a repository on the hub"),
            ("RevisionNotFoundError", "has no revision 'v2'"),
            ("GatedRepoError", "asks for consent"),
            ("HfHubHTTPError", "the download failed"),
        ],
    )
    def test_failures_get_one_line(self, monkeypatch: pytest.MonkeyPatch, error: Any, words: str) -> None:
        if isinstance(error, str):
            response = SimpleNamespace(headers={}, request=None)
            error = getattr(errors, error)("first line\nsecond", response=response)

        def fail(*_: Any, **__: Any) -> None:
            raise error

        monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
        with pytest.raises(ModelError, match=f"owner/name: .*{words}") as caught:
            resolve_model("owner/name", revision="v2")
        assert "\n" not in str(caught.value)
