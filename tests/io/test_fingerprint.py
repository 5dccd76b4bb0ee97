from pathlib import Path

from stablenormal.io.fingerprint import changed, made_from, of_bytes


def test_bytes_count_and_not_names(tmp_path: Path) -> None:
    for name, text in (("a", "one"), ("b", "one"), ("c", "two")):
        (tmp_path / name).write_text(text)
    a, b, c = (made_from({"photograph": tmp_path / name, "mask": None}) for name in "abc")
    assert not changed(a, b)
    assert changed(a, c) == ["photograph"]
    assert changed({}, a) == ["photograph"]


def test_facts_count(tmp_path: Path) -> None:
    one, two = (made_from(facts={"camera": [1.0, number]}) for number in (2.0, 2.0000001))
    assert changed(one, two) == ["camera"]


def test_a_mask_that_came_or_went(tmp_path: Path) -> None:
    (tmp_path / "m").write_text("mask")
    without, with_mask = made_from({"mask": None}), made_from({"mask": tmp_path / "m"})
    assert changed(without, with_mask) == changed(with_mask, without) == ["mask"]


def test_parts_are_one_sequence_of_bytes() -> None:
    assert of_bytes([b"ab", b"c"]) == of_bytes([b"abc"]) != of_bytes([b"abd"])
