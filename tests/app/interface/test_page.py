"""The page in a browser: a person uploads, runs, slides, lights, takes files away, and sends a broken one."""

import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stablenormal.io.exr import SIGNATURE
from stablenormal.io.normal_map import read_normal_map

pytest.importorskip("gradio")
playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.skipif(
    shutil.which("chromium") is None, reason="needs chromium, which `make test` installs as root"
)

SAMPLES = Path(__file__).parents[3] / "src/stablenormal/samples"
PATIENCE_MS = 120_000
CHROMIUM = [
    "--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-component-update",
    "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist",
]  # fmt: skip

# Brightness of the lit picture around a place, as shares of its sides.
BRIGHTNESS = """([viewer, u, v]) => {
  const canvas = viewer.shadowRoot.querySelector("canvas"), size = 16;
  const [x, y] = [Math.round(u * canvas.width - size / 2), Math.round(v * canvas.height - size / 2)];
  const data = canvas.getContext("2d").getImageData(x, y, size, size).data;
  return data.reduce((sum, value, at) => sum + (at % 4 === 3 ? 0 : value), 0) / (size * size * 3);
}"""


class Server:
    """`stablenormal app` in a process of its own."""

    def __init__(self, output: Path) -> None:
        words = ["app", "--no-browser", "--port", "0", "--offline", "-o", str(output)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "stablenormal", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()
        assert self.line.startswith("page: http://127.0.0.1:"), self.process.communicate()
        self.url = self.line.split()[1]

    def stop(self) -> tuple[int, str]:
        """Ctrl-C: the exit code, and what was said on stderr."""
        self.process.send_signal(signal.SIGINT)
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, said


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("page") / "kept"


@pytest.fixture(scope="module")
def server(results: Path) -> Iterator[Server]:
    running = Server(results)
    yield running
    if running.process.poll() is None:
        running.process.kill()
        running.process.communicate()


@pytest.fixture(scope="module")
def asked() -> list[str]:
    """Every address that the browser asked for."""
    return []


@pytest.fixture(scope="module")
def page(server: Server, asked: list[str]) -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM)
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.set_default_timeout(PATIENCE_MS)
        page.on("request", lambda request: asked.append(request.url))
        page.goto(server.url)
        page.wait_for_selector("#run")
        yield page
        browser.close()


@pytest.fixture
def photographs(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "tilted.png", tmp_path / "broken.jpg", tmp_path / "small.jpg"]
    Image.open(SAMPLES / "figurine.jpg").resize((160, 120)).save(paths[0])
    paths[1].write_bytes(b"\xff\xd8\xff\xe0 no photograph")
    Image.open(SAMPLES / "cushion.jpg").resize((96, 96)).save(paths[2])
    return paths


def run(page: Any, *, until: str) -> None:
    page.locator("#run").click()
    page.wait_for_selector(until)


def taken(page: Any, button: str, folder: Path) -> Path:
    with page.expect_download() as download:
        page.locator(button).click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def test_photographs_are_run_and_a_broken_one_gets_a_line(
    page: Any, photographs: list[Path], tmp_path: Path
) -> None:
    page.locator("#photographs input[type=file]").set_input_files([str(path) for path in photographs])
    page.locator("#photographs").get_by_text("small").wait_for()
    page.get_by_label("turbo").check()
    page.locator("#seeds input[type=number]").fill("2")
    run(page, until="stablenormal-viewer[name=tilted][data-ready]")
    page.wait_for_selector("#everything:not([disabled])")
    problem = page.locator("#problems li")
    assert problem.count() == 1
    assert problem.inner_text().startswith("broken.jpg: ")
    assert str(tmp_path) not in page.content()
    page.locator("#choice").get_by_label("small").check()
    page.wait_for_selector("stablenormal-viewer[name=small][data-ready]")
    assert page.locator("stablenormal-viewer img.photo").evaluate("image => image.naturalWidth") == 96
    page.locator("#choice").get_by_label("tilted").check()
    page.wait_for_selector("stablenormal-viewer[name=tilted][data-ready]")
    assert page.locator("stablenormal-viewer img.photo").evaluate("image => image.naturalWidth") == 160
    page.get_by_label("Uncertainty").check()
    assert page.locator("stablenormal-viewer img[data-layer=uncertainty]").is_visible()


def test_the_line_slides_by_drag_and_by_key(page: Any) -> None:
    page.get_by_label("Normals", exact=True).check()
    stage = page.locator("stablenormal-viewer .stage")
    box = stage.bounding_box()

    def line() -> float:
        return float(stage.evaluate("stage => parseFloat(stage.style.getPropertyValue('--at'))"))

    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + 20)
    page.mouse.up()
    assert line() == pytest.approx(20, abs=1)
    over = page.locator("stablenormal-viewer img[data-layer=normals]")
    assert over.evaluate("image => getComputedStyle(image).clipPath").startswith("inset(0px 0px 0px 20")
    stage.press("ArrowRight")
    assert line() == pytest.approx(24, abs=1)


def test_the_light_follows_the_pointer(page: Any) -> None:
    page.get_by_label("Lit: clay").check()
    viewer = page.locator("stablenormal-viewer")
    box = page.locator("stablenormal-viewer .stage").bounding_box()

    def brightness_where_lit(u: float, v: float) -> tuple[float, float]:
        """Left and right, when the pointer is somewhere."""
        page.mouse.move(box["x"] + box["width"] * u, box["y"] + box["height"] * v)
        page.evaluate(
            "() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))"
        )
        element = viewer.element_handle()
        left, right = (page.evaluate(BRIGHTNESS, [element, side, 0.5]) for side in (0.15, 0.85))
        return left, right

    left_lit, right_dark = brightness_where_lit(0.15, 0.5)
    left_dark, right_lit = brightness_where_lit(0.85, 0.5)
    assert left_lit > left_dark + 20
    assert right_lit > right_dark + 20


def test_the_lit_surface_turns_toward_a_light_as_its_normals_say(page: Any) -> None:
    """A viewer of a surface that faces right: lit from the right it is bright, from the left dark."""
    shown = page.evaluate(
        """async () => {
          const picture = (colour) => {
            const canvas = Object.assign(document.createElement("canvas"), { width: 40, height: 40 });
            const context = canvas.getContext("2d");
            context.fillStyle = colour;
            context.fillRect(0, 0, 40, 40);
            return canvas.toDataURL();
          };
          const viewer = document.createElement("stablenormal-viewer");
          const surface = picture("rgb(245, 128, 178)");  // (0.92, 0, 0.39)
          for (const name of ["name", "photo", "normals", "surface"]) viewer.setAttribute(name, surface);
          document.body.append(viewer);
          await viewer.ready;
          viewer.choose("clay");
          const seen = [[400, 20], [-400, 20], [20, 400]].map((light) => {
            viewer.light = light;
            viewer.shade();
            return viewer.canvas.getContext("2d").getImageData(20, 20, 1, 1).data[0];
          });
          viewer.remove();
          return seen;
        }"""
    )
    from_right, from_left, from_below = shown
    assert from_right > from_below >= from_left
    assert from_right > from_left


def test_what_is_taken_away_is_what_predict_writes(page: Any, tmp_path: Path, results: Path) -> None:
    png = read_normal_map(taken(page, "#png", tmp_path))
    assert (png.format, png.stored_frame) == ("png16", "opengl")
    exr = taken(page, "#exr", tmp_path)
    assert exr.read_bytes()[:4] == SIGNATURE
    assert np.abs(read_normal_map(exr).normals - png.normals).max() < 1e-4
    assert png.normals.shape == (120, 160, 3)
    with zipfile.ZipFile(taken(page, "#everything", tmp_path)) as held:
        names = {name.partition("/")[2] for name in held.namelist()}
    assert {
        "tilted_normal.png",
        "small_normal.exr",
        "tilted_uncertainty.png",
        "run.json",
        "index.html",
    } <= names
    (kept,) = (path for path in results.iterdir() if path.is_dir())
    assert (kept / "tilted_normal.png").read_bytes() == (tmp_path / "tilted_normal.png").read_bytes()


def test_a_mesh_is_made_and_shown_and_taken_away(page: Any, tmp_path: Path) -> None:
    page.get_by_role("tab", name="Mesh").click()
    page.locator("#build").click()
    page.wait_for_selector("#mesh canvas")
    page.get_by_text("“Field of view” sets it").wait_for()
    assert taken(page, "#glb", tmp_path).read_bytes()[:4] == b"glTF"
    page.get_by_role("tab", name="Normals").click()


def test_an_example_that_comes_with_the_package_runs(page: Any) -> None:
    page.reload()
    page.wait_for_selector("#run")
    page.locator("#examples .gallery-item").nth(0).click()
    page.locator("#photographs").get_by_text("cushion").wait_for()
    page.get_by_label("turbo").check()
    run(page, until="stablenormal-viewer[name=cushion][data-ready]")


def test_running_nothing_says_what_to_do(page: Any) -> None:
    page.reload()
    page.locator("#run").click()
    page.get_by_text("No photograph yet").wait_for()


def test_the_browser_asks_nobody_but_the_page(page: Any, server: Server, asked: list[str]) -> None:
    assert len(asked) > 20
    outside = [url for url in asked if not url.startswith((server.url, "data:", "blob:"))]
    assert outside == []
    blocked = page.evaluate("() => fetch('http://example.org/').then(() => false, () => true)")
    assert blocked  # by the policy that comes with the page


def test_ctrl_c_ends_it_without_an_error(server: Server, page: Any) -> None:
    code, said = server.stop()
    assert code == 0, said
    assert "Traceback" not in said and "error" not in said
