"""The pictures of the page in the manual, and how long it takes to show the first result.

python -m runs.screenshots [-o docs/images] [--browser chromium]

Opens `stablenormal app`, runs bundled photographs in it as a person would, and writes app-lit.jpg,
app-uncertainty.jpg and app-mesh.jpg. Needs the extra `app`, playwright and a Chromium.
"""

import argparse
import io
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

WINDOW = {"width": 1180, "height": 900}
WIDTH_PX = 900
"""Of the pictures in the manual."""
CHROMIUM = [
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
]
PATIENCE_MS = 300_000


def main() -> None:
    """Write the pictures, print the times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--out", type=Path, default=Path("docs/images"), help="folder of the pictures")
    parser.add_argument("--browser", default=shutil.which("chromium"), help="a Chromium")
    options = parser.parse_args()
    started = time.perf_counter()
    command = [sys.executable, "-u", "-m", "stablenormal", "app", "--no-browser", "--port", "0", "--offline"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().split()[1]
            print(f"from the command to the address: {time.perf_counter() - started:.1f} s")
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=options.browser, args=CHROMIUM)
                _photograph(browser.new_page(viewport=WINDOW), url, options.out)
                browser.close()
        finally:
            server.terminate()


def _photograph(page: Any, url: str, out: Path) -> None:
    page.set_default_timeout(PATIENCE_MS)
    asked = time.perf_counter()
    page.goto(url)
    page.wait_for_selector("#run")
    print(f"from the address to the page: {time.perf_counter() - asked:.1f} s")
    for place, name in ((1, "figurine"), (0, "cushion")):
        page.locator("#examples .gallery-item").nth(place).click()
        page.locator("#photographs").get_by_text(name).wait_for()
    page.locator("#seeds input[type=number]").fill("4")
    asked = time.perf_counter()
    page.locator("#run").click()
    page.wait_for_selector("stablenormal-viewer[data-ready]")
    print(f"from Run to the first picture, full mode, four seeds: {time.perf_counter() - asked:.1f} s")
    page.wait_for_selector("#everything:not([disabled])")
    page.get_by_label("Lit: clay").check()
    stage = page.locator("stablenormal-viewer .stage")
    box = stage.bounding_box()
    page.mouse.move(box["x"] + 0.62 * box["width"], box["y"] + 0.2 * box["height"])
    _save(page, out / "app-lit.jpg")
    page.get_by_label("Uncertainty").check()
    stage.press("ArrowLeft")
    _save(page, out / "app-uncertainty.jpg")
    page.get_by_role("tab", name="Mesh").click()
    page.locator("#build").click()
    page.get_by_text("field of view").last.wait_for()
    page.wait_for_selector("#mesh canvas")
    page.wait_for_timeout(10_000)  # until software has drawn it
    _save(page, out / "app-mesh.jpg")


def _save(page: Any, path: Path) -> None:
    page.evaluate("window.scrollTo(0, 0)")
    page.wait_for_timeout(1000)
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    height = round(picture.height * WIDTH_PX / picture.width)
    picture.resize((WIDTH_PX, height), Image.Resampling.LANCZOS).save(path, quality=82, optimize=True)


if __name__ == "__main__":
    main()
