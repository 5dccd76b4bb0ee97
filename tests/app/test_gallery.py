import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import cv2
import numpy as np
import pytest

from stablenormal.app.gallery import GalleryItem, write_gallery
from stablenormal.app.previews import frame_legend

RED, BLUE, GREEN = (255, 0, 0), (0, 0, 255), (0, 255, 0)


class Elements(HTMLParser):
    """Every start tag with its attributes."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def of(self, tag: str, **wanted: str) -> list[dict[str, str | None]]:
        return [a for t, a in self.found if t == tag and wanted.items() <= a.items()]


def flat_picture(path: Path, colour: tuple[int, int, int], height: int = 120, width: int = 160) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((height, width, 3), colour[::-1], dtype=np.uint8))


def page_of(folder: Path, items: list[GalleryItem], problems: tuple[str, ...] = ()) -> Path:
    write_gallery(
        folder / "index.html",
        items,
        title="Surface normals",
        facts={"Mode": "full"},
        legend=frame_legend("opengl"),
        problems=problems,
    )
    return folder / "index.html"


def item(folder: Path, name: str = "photo", uncertainty: bool = False) -> GalleryItem:
    flat_picture(folder / f"preview/{name}_photo.png", RED)
    flat_picture(folder / f"preview/{name}_normal.png", BLUE)
    flat_picture(folder / f"preview/{name}_uncertainty.png", GREEN)
    flat_picture(folder / f"{name}_normal.png", BLUE)
    return GalleryItem(
        name=name,
        photo=f"preview/{name}_photo.png",
        normals=f"preview/{name}_normal.png",
        uncertainty=f"preview/{name}_uncertainty.png" if uncertainty else None,
        width=160,
        height=120,
        links={"png16": f"{name}_normal.png"},
    )


def test_everything_on_the_page_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    page = page_of(tmp_path, [item(tmp_path, "a b#1?%20"), item(tmp_path, "sub/ä", uncertainty=True)])
    elements = Elements(page)
    sources = [a["src"] for a in elements.of("img")] + [a["href"] for a in elements.of("a")]
    files = [
        unquote(source) for source in sources if source and not source.startswith("data:image/png;base64,")
    ]
    assert len(files) == 2 + 3 + 2 + 1  # pictures of the two, their links, the record
    for file in files:
        assert (tmp_path / file).is_file(), file
    assert elements.of("link") == []
    assert all("src" not in attributes for attributes in elements.of("script"))
    assert "://" not in page.read_text(encoding="utf-8")


def test_names_and_errors_cannot_break_the_page(tmp_path: Path) -> None:
    name = "<b>&\"x' onerror=1"
    page = page_of(tmp_path, [item(tmp_path, name)], problems=("<script>bad</script>.jpg: broken",))
    elements = Elements(page)
    assert len(elements.of("b")) == 1  # the legend's own
    assert len(elements.of("script")) == 1
    assert elements.of("img", alt=f"Photograph {name}")
    assert all("onerror" not in attributes for _, attributes in elements.found)
    assert "&lt;script&gt;bad&lt;/script&gt;.jpg: broken" in page.read_text(encoding="utf-8")


def test_every_slider_has_a_label_and_every_picture_a_text(tmp_path: Path) -> None:
    elements = Elements(page_of(tmp_path, [item(tmp_path, "a"), item(tmp_path, "b", uncertainty=True)]))
    sliders = elements.of("input", type="range")
    assert len(sliders) == 4  # of both pictures, of all, and of the enlarged view
    labelled = {attributes["for"] for attributes in elements.of("label") if "for" in attributes}
    assert all("aria-label" in slider or slider["id"] in labelled for slider in sliders)
    assert all(attributes.get("alt") for attributes in elements.of("img"))


def test_uncertainty_is_a_choice_only_where_there_is_one(tmp_path: Path) -> None:
    assert Elements(page_of(tmp_path, [item(tmp_path)])).of("input", type="radio") == []
    radios = Elements(page_of(tmp_path, [item(tmp_path, uncertainty=True)])).of("input", type="radio")
    assert [attributes["value"] for attributes in radios] == ["normals", "uncertainty"]


def test_a_page_without_results_says_so(tmp_path: Path) -> None:
    text = page_of(tmp_path, [], problems=("a.jpg: empty",)).read_text(encoding="utf-8")
    assert "No photograph has a result" in text
    assert "1 file has no result" in text


@pytest.mark.skipif(
    shutil.which("chromium") is None, reason="needs chromium, which `make test` installs as root"
)
def test_a_browser_shows_photograph_left_and_normals_right_of_the_line(tmp_path: Path) -> None:
    flat_picture(tmp_path / "photo.png", RED, 400, 600)
    flat_picture(tmp_path / "normals.png", BLUE, 400, 600)
    page = page_of(tmp_path, [GalleryItem("photo", "photo.png", "normals.png", 600, 400)])
    screenshot = tmp_path / "screenshot.png"
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += ["--hide-scrollbars", "--window-size=700,900", "--virtual-time-budget=2000"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={screenshot}", page.as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    shown = cv2.imread(str(screenshot))[..., ::-1].astype(int)  # (H, W, 3) RGB
    red = np.abs(shown - RED).max(axis=-1) < 12
    blue = np.abs(shown - BLUE).max(axis=-1) < 12
    rows = np.flatnonzero(red.sum(axis=1) > 200)  # rows of the picture, the legend has no such red
    assert len(rows) > 350
    row = rows[20]
    assert np.flatnonzero(red[row]).max() < np.flatnonzero(blue[row]).min()
    assert abs(int(red[row].sum()) - int(blue[row].sum())) < 12  # the line stands in the middle


CHROMIUM = [
    "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
    "--window-size=700,900", "--virtual-time-budget=2000",
]  # fmt: skip

ZOOMED = """
const said = [];
const card = document.querySelector(".card");
const wheel = (deltaY) => stage.dispatchEvent(
  new WheelEvent("wheel", { deltaY, clientX: 0, clientY: 0, cancelable: true, bubbles: true }));
const key = (name) => viewer.dispatchEvent(new KeyboardEvent("keydown", { key: name }));
const point = (kind, id, x, y) => stage.dispatchEvent(
  new PointerEvent(kind, { pointerId: id, clientX: x, clientY: y, bubbles: true }));
stage.setPointerCapture = () => {};
card.querySelector(".compare").dispatchEvent(new MouseEvent("dblclick", { bubbles: true }));
said.push(viewer.open, view.scale / view.fit);
wheel(-1000); said.push(view.scale / view.fit, view.x);
key("0"); said.push(view.scale / view.fit);
key("+"); key("+"); key("-"); said.push(view.scale / view.fit);
key("0");
point("pointerdown", 1, 100, 300); point("pointerdown", 2, 300, 300); point("pointermove", 2, 500, 300);
said.push(view.scale / view.fit);
const x = view.x; point("pointerup", 2, 500, 300); point("pointermove", 1, 60, 300); said.push(view.x - x);
said.push(stage.querySelectorAll("img")[1].src.endsWith("full.png"));
said.push(new Set([...stage.querySelectorAll("img")].map((image) => image.style.transform)).size);
viewer.close(); said.push(viewer.open);
document.title = JSON.stringify(said);
"""


@pytest.mark.skipif(
    shutil.which("chromium") is None, reason="needs chromium, which `make test` installs as root"
)
def test_the_wheel_keys_and_two_fingers_zoom_the_enlarged_picture(tmp_path: Path) -> None:
    for name, colour in (("photo.png", RED), ("normals.png", BLUE), ("full.png", BLUE)):
        flat_picture(tmp_path / name, colour, 400, 600)
    page = page_of(tmp_path, [GalleryItem("photo", "photo.png", "normals.png", 600, 400, full="full.png")])
    html = page.read_text(encoding="utf-8")
    page.write_text(html.replace("</body>", f"<script>{ZOOMED}</script></body>"), encoding="utf-8")
    command = [*CHROMIUM, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()]
    dom = subprocess.run(command, check=True, capture_output=True, timeout=120, text=True).stdout
    said = json.loads(re.search(r"<title>(.*?)</title>", dom)[1])  # type: ignore[index]
    opened, whole, wheeled, left, fitted, keyed, pinched, dragged, full, transforms, closed = said
    assert (opened, whole, fitted, full, transforms, closed) == (True, 1, 1, True, 1, False)
    assert wheeled == pytest.approx(np.exp(1.5))
    assert left == 0  # the corner that the pointer is on stays
    assert keyed == pytest.approx(1.25)
    assert pinched == pytest.approx(2)
    assert dragged == pytest.approx(-40)
