import json

import pytest

from stablenormal.io.compile_cache import MANIFEST, CompileCache

STAMP = {"torch": "1", "machine": ["x"]}


def filled(root, stamp=STAMP):
    """A cache that an earlier process filled and closed."""
    cache = CompileCache(root, stamp)
    (cache.folder / "a").mkdir()
    (cache.folder / "a" / "kernel.so").write_bytes(b"code")
    (cache.folder / "graph").write_bytes(b"graph")
    cache.seal()
    folder = cache.folder
    cache.close()
    return folder


def test_a_whole_cache_is_used_again(tmp_path, caplog):
    folder = filled(tmp_path)
    again = CompileCache(tmp_path, STAMP)
    assert again.folder == folder and again.is_filled and again.is_kept
    assert (folder / "a" / "kernel.so").read_bytes() == b"code"
    assert not caplog.records


@pytest.mark.parametrize("harm", ["changed", "missing", "unknown", "link", "manifest", "foreign"])
def test_a_damaged_or_foreign_one_is_emptied(tmp_path, caplog, harm):
    folder = filled(tmp_path)
    kernel = folder / "a" / "kernel.so"
    if harm == "changed":
        kernel.write_bytes(b"coDe")
    elif harm == "missing":
        kernel.unlink()
    elif harm == "unknown":
        (folder / "b").write_bytes(b"new")
    elif harm == "link":
        kernel.unlink()
        kernel.symlink_to(folder / "graph")
    elif harm == "manifest":
        (folder / MANIFEST).write_text("{")
    else:
        manifest = json.loads((folder / MANIFEST).read_text())
        manifest["stamp"]["machine"] = ["y"]
        (folder / MANIFEST).write_text(json.dumps(manifest))
    again = CompileCache(tmp_path, STAMP)
    assert not again.is_filled and again.is_kept
    assert [path.name for path in folder.iterdir()] == ["lock"]
    assert "compiled anew" in caplog.text and str(folder) in caplog.text


def test_an_interrupted_one_is_emptied(tmp_path):
    folder = filled(tmp_path)
    (folder / MANIFEST).unlink()
    CompileCache(tmp_path, STAMP)
    assert [path.name for path in folder.iterdir()] == ["lock"]


def test_another_stamp_has_another_folder(tmp_path):
    folder = filled(tmp_path)
    other = CompileCache(tmp_path, {**STAMP, "torch": "2"})
    assert other.folder != folder and not other.is_filled
    assert (folder / MANIFEST).is_file()


def test_a_folder_in_use_is_left_alone(tmp_path):
    first = CompileCache(tmp_path, STAMP)
    (first.folder / "half").write_bytes(b"being written")
    second = CompileCache(tmp_path, STAMP)
    second.seal()
    assert second.folder != first.folder and not second.is_kept
    assert (first.folder / "half").is_file()


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    cache = CompileCache(tmp_path / "file", STAMP)
    assert cache.folder.is_dir() and not cache.is_kept
    assert "not kept" in caplog.text
