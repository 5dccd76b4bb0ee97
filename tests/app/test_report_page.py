from html.parser import HTMLParser
from pathlib import Path

import pytest

from stablenormal.app.previews import angle_bar, frame_legend
from stablenormal.app.report_page import Card, Group, Picture, Table, write_report_page


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes) -> None:
        self.links += [value for key, value in attributes if key in ("src", "href")]
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def page(tmp_path: Path) -> _Page:
    card = Card("a<b", "mean 3°", [Picture("Error", "maps/a b#1.png", 40, 30)])
    write_report_page(
        tmp_path / "index.html",
        title="Q&A",
        facts={"Images": "2"},
        warnings=["read <this>"],
        tables=[
            Table("Numbers", ["", "mean"], [["all", "1.5"]]),
            Table("Each", ["", "mean"], [["a<b", "2.5"]], links=["maps/a b#1.png"], folded=True),
        ],
        groups=[Group("Worst", [card]), Group("Best", [])],
        legend=frame_legend("opengl"),
        angles="Angular error",
        top_deg=60,
        files={"All numbers": "end.json"},
    )
    return _Page((tmp_path / "index.html").read_text(encoding="utf-8"))


def test_everything_is_on_the_page_and_text_is_escaped(page: _Page) -> None:
    for text in ("Q&A", "Images", "read <this>", "1.5", "2.5", "a<b", "mean 3°", "60° and more", "end.json"):
        assert text in page.text
    assert "Best" not in page.text
    assert page.open == []


def test_it_works_offline(page: _Page) -> None:
    assert page.links.count("maps/a%20b%231.png") == 3
    assert not [link for link in page.links if "://" in link or link.startswith("/")]


def test_the_bar_has_the_colours_of_the_maps() -> None:
    assert angle_bar().startswith(b"\x89PNG")
