"""The manual builds without a warning, its links lead somewhere, and it needs no network."""

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from stablenormal.cli.main import app

DOCS = Path(__file__).parents[1] / "docs"


class Page(HTMLParser):
    """What a page links to, what it loads, and the places in it that links can name."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.places: set[str] = set()
        self.tags: set[str] = set()
        self.items: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        facts = {name: value or "" for name, value in attrs}
        self.tags.add(tag)
        self.places |= {facts["id"]} if "id" in facts else set()
        if tag == "li":
            self.items.append("")
        if tag == "a" and "href" in facts:
            self.links.append(facts["href"])
        loaded = facts.get("href" if tag == "link" else "src", "")
        if loaded and (tag != "link" or "stylesheet" in facts.get("rel", "")):
            self.loads.append(loaded)

    def handle_data(self, data: str) -> None:
        if self.items:
            self.items[-1] += data.strip()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Page]:
    """Every page of the built manual."""
    for library in ("sphinx", "furo", "myst_parser", "latex2mathml"):
        pytest.importorskip(library)
    out = tmp_path_factory.mktemp("site")
    words = ["-W", "--keep-going", "-q", "-b", "html", "-d", str(out / "trees"), str(DOCS), str(out / "html")]
    built = subprocess.run([sys.executable, "-m", "sphinx", *words], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    pages = [path for path in (out / "html").rglob("*.html") if "_modules" not in path.parts]
    return {path: Page(path) for path in pages}


def test_every_link_leads_somewhere(site: dict[Path, Page]) -> None:
    inside = 0
    for path, page in site.items():
        for link in page.links:
            target, _, place = link.partition("#")
            if "://" in target or target.startswith("mailto:") or "_modules" in target:
                continue
            found = (path.parent / target).resolve() if target else path
            assert found.exists(), f"{path.name}: {link}"
            if place and found in site:
                inside += 1
                assert place in site[found].places, f"{path.name}: {link}"
    assert inside > 100


def test_nothing_is_loaded_from_the_network(site: dict[Path, Page]) -> None:
    for path, page in site.items():
        assert page.loads
        for loaded in page.loads:
            assert "://" not in loaded and not loaded.startswith("//"), f"{path.name}: {loaded}"
            assert loaded.startswith("data:") or (path.parent / loaded.partition("?")[0]).exists(), loaded


def test_formulas_are_drawn_by_the_browser(site: dict[Path, Page]) -> None:
    (method,) = (page for path, page in site.items() if path.name == "method.html")
    assert {"math", "msub", "mfrac"} <= method.tags


def test_every_command_and_public_name_has_its_place(site: dict[Path, Page]) -> None:
    import stablenormal

    (commands,) = (page for path, page in site.items() if path.name == "cli.html")
    names = [one.callback.__name__ for one in app.registered_commands if one.callback]
    assert not any(text.endswith(("...", "…")) for text in commands.items)  # a sentence that was cut off
    assert len(names) > 10 and {f"stablenormal-{name}" for name in names} <= commands.places
    (api,) = (page for path, page in site.items() if path.name == "api.html")
    public = {f"stablenormal.{name}" for name in stablenormal.__all__ if not name.startswith("_")}
    assert public <= api.places
