"""The page itself: its controls, and what each does.

Nothing on it comes from another machine: fonts are the system's, and a policy in every answer keeps the
browser from asking anywhere else.
"""

import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI

from stablenormal.app.html_page import fill_part
from stablenormal.app.interface.handlers import FORMATS, Shown, Step, archive, make_mesh, run, viewer_html
from stablenormal.app.predict_settings import PredictSettings
from stablenormal.app.serving import App, Message, Receive, Send
from stablenormal.errors import StableNormalError
from stablenormal.geometry.frames import FRAMES
from stablenormal.io.image_files import SUFFIXES
from stablenormal.models.modes import MODES
from stablenormal.pipelines import StableNormal

MAX_UPLOAD = 256 * 2**20
"""Bytes of one file."""

MOST_SEEDS = 8
"""Of an uncertainty map; each is a run of its own."""

WAITING = 16
"""Runs that wait at the most; who comes then is told to come again."""

KEPT_S = 3600
"""Seconds after which the results of somebody who went away are removed, unless a folder was named."""

TITLE = "Surface normals"

FOV_LABEL = "Field of view"

POLICY = "; ".join(
    (
        "default-src 'self' data: blob:",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "frame-ancestors 'self'",
        "form-action 'self'",
    )
)
"""What the browser may load: from here alone."""

STYLE = """
.shown { margin: 0; overflow-wrap: anywhere; } .facts { margin: 0 0 8px; opacity: 0.75; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 24px; margin-top: 8px; font-size: 0.85rem; opacity: 0.85; }
.legend span { display: flex; gap: 8px; align-items: center; }
.legend img { width: 44px; height: 44px; } .legend img.bar { width: 140px; height: 10px; }
.problems { border: 1px solid #b3261e; border-radius: 8px; padding: 8px 14px; overflow-wrap: anywhere; }
.problems ul { margin: 0; padding-left: 18px; }
.empty { opacity: 0.7; padding: 12vh 0; text-align: center; }
"""

NOTHING_YET = '<p class="empty">Drop photographs on the left, or choose an example, and press Run.</p>'


@dataclass(frozen=True)
class Results:
    """Where the results of the page go."""

    folder: Path
    kept: bool
    """Whether the user named the folder; otherwise results go when their page is closed."""

    def new_run(self) -> Path:
        """A folder for one run."""
        return self.folder / f"{time.strftime('%Y-%m-%d_%H-%M-%S')}_{secrets.token_hex(4)}"

    def forget(self, shown: Sequence[Shown]) -> None:
        """Remove a run, unless it is to be kept."""
        for folder in {one.folder for one in shown} if not self.kept else ():
            shutil.rmtree(folder, ignore_errors=True)
            folder.with_name(f"{folder.name}.zip").unlink(missing_ok=True)


def build_app(pipeline: StableNormal, model: str, results: Results) -> App:
    """The page as an application that a server runs.

    Args:
        pipeline: the loaded model.
        model: its name, for the records of runs.
        results: where they go.
    """
    page = _page(pipeline, model, results)
    server = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    gr.mount_gradio_app(
        server,
        page,
        path="/",
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        max_file_size=MAX_UPLOAD,
        allowed_paths=[str(results.folder), *(str(path) for path in sample_photographs())],
        theme=gr.themes.Soft(
            font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"], primary_hue="indigo"
        ),
        css=STYLE,
        head=f"<script>{files('stablenormal.app.interface').joinpath('viewer.js').read_text('utf-8')}</script>",
    )
    return _OwnOriginOnly(server)


class _OwnOriginOnly:
    """Says in every answer that the page may load nothing from elsewhere."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        async def with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [(b"content-security-policy", POLICY.encode()), (b"referrer-policy", b"no-referrer")]
                message = {**message, "headers": [*message.get("headers", ()), *added]}
            await send(message)

        await self._app(scope, receive, with_policy)


def name_of(argument: str) -> str:
    """What the page calls an argument of the library, in messages."""
    return f"“{FOV_LABEL}”" if argument == "fov" else argument


def sample_photographs() -> list[Path]:
    """The photographs that come with the package."""
    with as_file(files("stablenormal").joinpath("samples")) as folder:
        return sorted(folder.glob("*.jpg"))


def resolution_choices(pipeline: StableNormal) -> list[tuple[str, int]]:
    """The sizes that a model may see photographs at: text to pixels of the longer side, 0 for its own."""
    own = pipeline.spec.processing_resolution
    sizes = {own, *(size for quality in pipeline.spec.qualities.values() for size in quality.sizes)}
    if own:
        sizes |= {own * 3 // 2, own * 2}
    texts = {size: f"{size} px" for size in sorted(sizes - {0, own})}
    first = [("the photograph's own" if own == 0 else f"{own} px (the model's)", own)]
    rest = [(text, size) for size, text in texts.items()]
    return [*first, *rest] if own == 0 else [*first, *rest, ("the photograph's own", 0)]


def _page(pipeline: StableNormal, model: str, results: Results) -> gr.Blocks:
    samples = sample_photographs()
    sizes = resolution_choices(pipeline)
    page = gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True, delete_cache=(600, KEPT_S))
    with page:
        shown = gr.State([], time_to_live=KEPT_S, delete_callback=results.forget)
        gr.Markdown(f"# {TITLE}")
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                photographs = gr.File(
                    label="Photographs",
                    file_count="multiple",
                    file_types=list(SUFFIXES),
                    elem_id="photographs",
                )
                examples = gr.Dataset(
                    label="Examples",
                    components=[gr.Image(visible=False)],
                    samples=[[str(path)] for path in samples],
                    type="index",
                    elem_id="examples",
                )
                with gr.Row():
                    start = gr.Button("Run", variant="primary", elem_id="run")
                    stop = gr.Button("Stop", variant="stop", elem_id="stop")
                mode = gr.Radio(
                    list(MODES), value="full", label="Mode", info="full refines; turbo is one step, faster"
                )
                frame = gr.Dropdown(
                    [name for name, signs in FRAMES.items() if signs is not None],
                    value="opengl",
                    label="Frame",
                    info="axes of the files and colours",
                )
                resolution = gr.Dropdown(
                    sizes, value=sizes[0][1], label="Resolution", info="at which the model sees"
                )
                seed = gr.Number(0, label="Seed", precision=0, minimum=0)
                seeds = gr.Slider(
                    1,
                    MOST_SEEDS,
                    value=1,
                    step=1,
                    label="Seeds to average",
                    elem_id="seeds",
                    info="two or more also give a map of the uncertainty",
                )
            with gr.Column(scale=3, min_width=360):
                problems = gr.HTML(visible=False, elem_id="problems")
                choice = gr.Radio([], label="Photograph", visible=False, elem_id="choice")
                with gr.Tabs():
                    with gr.Tab("Normals"):
                        viewer = gr.HTML(NOTHING_YET, elem_id="viewer", min_height=320)
                        with gr.Row():
                            png = gr.DownloadButton("PNG, 16 bits", interactive=False, elem_id="png")
                            exr = gr.DownloadButton("EXR", interactive=False, elem_id="exr")
                            everything = gr.DownloadButton(
                                "All as ZIP", interactive=False, elem_id="everything"
                            )
                    with gr.Tab("Mesh", elem_id="mesh-tab"):
                        with gr.Row():
                            fov = gr.Number(
                                0,
                                label=FOV_LABEL,
                                info="horizontal, in degrees; 0: what the photograph says, or a guess",
                                minimum=0,
                                maximum=170,
                            )
                            build = gr.Button("Make the mesh", interactive=False, elem_id="build")
                        mesh = gr.Model3D(
                            label="Mesh", height=480, camera_position=(90, 90, None), elem_id="mesh"
                        )
                        camera = gr.Markdown()
                        glb = gr.DownloadButton("GLB", interactive=False, elem_id="glb")

        def start_run(
            uploads: list[str] | None,
            mode: Any,
            frame: str,
            resolution: int,
            seed: float,
            seeds: float,
            before: list[Shown],
            progress: gr.Progress = gr.Progress(),  # noqa: B008 - how gradio hands it in
        ) -> Iterator[dict[Any, Any]]:
            if not uploads:
                raise _told("No photograph yet: drop some on the left, or choose an example.")
            results.forget(before)
            try:
                settings = PredictSettings(
                    model=model,
                    mode=mode,
                    frame=frame,
                    resolution=resolution,
                    seed=int(seed or 0),
                    ensemble=int(seeds),
                    uncertainty=seeds > 1,
                    formats=FORMATS,
                )
                for step in run(pipeline, [Path(upload) for upload in uploads], settings, results.new_run()):
                    progress((step.done, step.total), desc="Normals", unit="photographs")
                    yield updates(step)
            except StableNormalError as error:
                raise _told(str(error)) from error

        def updates(step: Step) -> dict[Any, Any]:
            """What the page shows after a step; the first result is shown as soon as it is there."""
            names = [one.name for one in step.shown]
            changed: dict[Any, Any] = {
                shown: list(step.shown),
                problems: gr.HTML(
                    fill_part("problems.html", lines=step.problems), visible=bool(step.problems)
                ),
            }
            if step.done == 0:
                changed |= {
                    choice: gr.Radio([], value=None, visible=False),
                    viewer: '<p class="empty">Working</p>',
                    **nothing_to_take(),
                }
            if step.shown:
                changed[choice] = gr.Radio(names, visible=len(names) > 1)
            if len(step.shown) == 1 and not step.complete:
                changed |= show(step.shown, names[0]) | {
                    choice: gr.Radio(names, value=names[0], visible=False)
                }
            if step.complete and step.shown:
                changed[everything] = gr.DownloadButton(value=archive(step.shown), interactive=True)
            if step.complete and not step.shown:
                changed[viewer] = '<p class="empty">No photograph has a result.</p>'
            return changed

        def nothing_to_take() -> dict[Any, Any]:
            closed = {
                button: gr.DownloadButton(value=None, interactive=False)
                for button in (png, exr, glb, everything)
            }
            return {**closed, build: gr.Button(interactive=False), mesh: None, camera: ""}

        def show(results: Sequence[Shown], name: str | None) -> dict[Any, Any]:
            one = next((one for one in results if one.name == name), None)
            if one is None:
                return {viewer: gr.skip()}
            return {
                viewer: viewer_html(one),
                png: gr.DownloadButton(value=one.png, interactive=True),
                exr: gr.DownloadButton(value=one.exr, interactive=True),
                build: gr.Button(interactive=True),
                **meshed(one),
            }

        def meshed(one: Shown, said: str = "") -> dict[Any, Any]:
            there = one.glb.is_file()
            return {
                mesh: str(one.glb) if there else None,
                glb: gr.DownloadButton(value=one.glb if there else None, interactive=there),
                camera: said,
            }

        def start_mesh(
            results: Sequence[Shown],
            name: str | None,
            fov_deg: float | None,
            progress: gr.Progress = gr.Progress(),  # noqa: B008 - how gradio hands it in
        ) -> dict[Any, Any]:
            one = next(one for one in results if one.name == name)
            progress(0.1, desc="Normals, depth, mesh")
            try:
                said = make_mesh(pipeline, one, fov_deg or None)
            except StableNormalError as error:
                raise _told(str(error)) from error
            return {
                **meshed(one, said),
                everything: gr.DownloadButton(value=archive(results), interactive=True),
            }

        def add_example(number: int, uploads: list[str] | None) -> list[str]:
            return [*(uploads or []), str(samples[number])]

        pictures = [viewer, png, exr, build, mesh, glb, camera]
        only_one: dict[str, Any] = {
            "concurrency_limit": 1,
            "concurrency_id": "model",
            "api_visibility": "private",
        }
        running = start.click(
            start_run,
            inputs=[photographs, mode, frame, resolution, seed, seeds, shown],
            outputs=[shown, problems, choice, everything, *pictures],
            show_progress_on=viewer,
            **only_one,
        )
        stop.click(None, cancels=running, api_visibility="private")
        choice.input(show, inputs=[shown, choice], outputs=pictures, api_visibility="private")
        build.click(
            start_mesh,
            inputs=[shown, choice, fov],
            outputs=[mesh, glb, camera, everything],
            show_progress_on=mesh,
            **only_one,
        )
        examples.click(
            add_example, inputs=[examples, photographs], outputs=photographs, api_visibility="private"
        )
    page.queue(max_size=WAITING, default_concurrency_limit=4)
    return page


def _told(line: str) -> gr.Error:
    """What the page says about something that cannot be done; it stays until it is closed."""
    return gr.Error(escape(line), duration=None, print_exception=False)
