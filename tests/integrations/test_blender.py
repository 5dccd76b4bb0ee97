"""The Blender add-on: its client against a service, its nodes in Blender itself."""

import importlib.util
import json
import os
import socket
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from PIL import Image

from stablenormal import __version__, read_normal_map, write_normal_map

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "integrations/blender/stablenormal_addon"


@pytest.fixture(scope="module")
def client() -> ModuleType:
    """The client alone, without Blender."""
    spec = importlib.util.spec_from_file_location("stablenormal_addon_client", FOLDER / "client.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def normals_png(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What the service answers: a slope that rises to the right."""
    path = tmp_path_factory.mktemp("answer") / "a_normal.png"
    slope = np.broadcast_to(np.float32([-0.6, 0, 0.8]), (24, 32, 3))
    write_normal_map(path, np.ascontiguousarray(slope))
    return path.read_bytes()


class Service:
    """A service that answers from a list, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str], bytes]] = []
        self.asked: list[dict[str, Any]] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # noqa: N802
                body = self.rfile.read(int(self.headers["Content-Length"]))
                url = urlsplit(self.path)
                service.asked.append(
                    {"path": url.path, "query": parse_qs(url.query), "headers": self.headers, "body": body}
                )
                code, headers, content = service.answers.pop(0)
                self.send_response(code)
                for name, value in {"Content-Length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST  # noqa: N815

            def log_message(self, *unused: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def service() -> Iterator[Service]:
    running = Service()
    yield running
    running.server.shutdown()
    running.server.server_close()


def test_the_request_is_the_documented_one(
    client: ModuleType, service: Service, normals_png: bytes, tmp_path: Path
) -> None:
    service.answers = [(200, {"Content-Type": "image/png"}, normals_png)]
    where = client.Service(service.address + "/", token="abc")
    answer = client.request_normals(b"a photograph", where, mode="turbo", frame="directx", seed=7)
    (asked,) = service.asked
    assert asked["path"] == "/v1/normals" and asked["body"] == b"a photograph"
    assert asked["query"] == {"mode": ["turbo"], "frame": ["directx"], "seed": ["7"]}
    assert asked["headers"]["Accept"] == "image/png"
    assert asked["headers"]["Authorization"] == "Bearer abc"
    (tmp_path / "a.png").write_bytes(answer)
    assert np.allclose(read_normal_map(tmp_path / "a.png").normals, [-0.6, 0, 0.8], atol=1e-4)


def test_no_token_is_sent_where_there_is_none(
    client: ModuleType, service: Service, normals_png: bytes
) -> None:
    service.answers = [(200, {}, normals_png)]
    client.request_normals(b"p", client.Service(service.address))
    assert "Authorization" not in service.asked[0]["headers"]


def test_a_busy_service_is_asked_again_after_the_time_that_it_names(
    client: ModuleType, service: Service, normals_png: bytes
) -> None:
    service.answers = [
        (429, {"Retry-After": "3"}, b""), (503, {}, b""), (429, {"Retry-After": "9999"}, b""),
        (200, {}, normals_png),
    ]  # fmt: skip
    waits: list[float] = []
    assert client.request_normals(b"p", client.Service(service.address), wait=waits.append) == normals_png
    assert waits == [3.0, 4.0, client.LONGEST_WAIT]
    assert [asked["body"] for asked in service.asked] == [b"p"] * 4


def test_a_service_that_stays_busy_is_given_up(client: ModuleType, service: Service) -> None:
    service.answers = [(429, {}, b"")] * client.TRIES
    with pytest.raises(client.ServiceError, match="busy; try again later"):
        client.request_normals(b"p", client.Service(service.address), wait=lambda seconds: None)
    assert not service.answers


@pytest.mark.parametrize(
    ("code", "content", "told"),
    [
        (401, b"", "asks for a token"),
        (403, b"", "another one in the preferences"),
        (413, b"<html>too large</html>", "too large for the service"),
        (415, json.dumps({"detail": "not an image;\n send a JPEG"}).encode(), "not an image; send a JPEG"),
        (400, json.dumps({"error": {"message": "frame: there is no 'up'"}}).encode(), "there is no 'up'"),
        (422, json.dumps({"detail": [{"msg": "seed must be a number"}]}).encode(), "seed must be a number"),
        (500, b"[]", "answered 500"),
        (200, b"<html>hello</html>", "not with normals; is it another program"),
    ],
)
def test_each_refusal_is_one_line(
    client: ModuleType, service: Service, code: int, content: bytes, told: str
) -> None:
    service.answers = [(code, {}, content)]
    with pytest.raises(client.ServiceError, match=told) as refused:
        client.request_normals(b"p", client.Service(service.address))
    assert "\n" not in str(refused.value)


def test_the_token_goes_nowhere_else(client: ModuleType, service: Service) -> None:
    service.answers = [(302, {"Location": service.address + "/elsewhere"}, b"")]
    with pytest.raises(client.ServiceError, match="elsewhere; set its address"):
        client.request_normals(b"p", client.Service(service.address, token="abc"))
    assert len(service.asked) == 1


def test_no_service_is_told_with_how_to_start_one(client: ModuleType, service: Service) -> None:
    address = service.address
    service.server.server_close()
    with pytest.raises(client.ServiceError, match="start it with: stablenormal serve"):
        client.request_normals(b"p", client.Service(address))


def test_a_silent_service_is_given_up(client: ModuleType) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = client.Service(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.1)
        with pytest.raises(client.ServiceError, match=r"did not answer within 0\.1 s"):
            client.request_normals(b"p", where)


@pytest.mark.parametrize("address", ["", "127.0.0.1:8000", "file:///etc/passwd", "http://", "http://a:port"])
def test_what_is_no_address_is_refused(client: ModuleType, address: str) -> None:
    with pytest.raises(client.ServiceError, match="is no address"):
        client.Service(address)


def test_a_token_with_a_line_break_is_refused(client: ModuleType) -> None:
    with pytest.raises(client.ServiceError, match="token"):
        client.Service(token="abc\nX-Other: 1")


def test_what_needs_the_network_is_known(client: ModuleType) -> None:
    assert client.Service("http://localhost:1").on_this_machine
    assert client.Service("http://[::1]:1").on_this_machine
    assert not client.Service("https://normals.example.org").on_this_machine


def test_the_add_on_compiles_and_its_manifest_agrees() -> None:
    sources = sorted(FOLDER.glob("*.py"))
    assert len(sources) == 3
    for path in sources:
        compile(path.read_text(encoding="utf-8"), str(path), "exec")
    manifest = tomllib.loads((FOLDER / "blender_manifest.toml").read_text(encoding="utf-8"))
    assert manifest["id"] == FOLDER.name and manifest["version"] == __version__
    assert not manifest["tagline"].endswith(".") and len(manifest["tagline"]) <= 64
    assert "network" in manifest["permissions"]


def test_the_real_service_answers_the_client(client: ModuleType, toy_model: Path, tmp_path: Path) -> None:
    """`stablenormal serve` itself, in a process of its own."""
    for library in ("stablenormal.service", "fastapi", "uvicorn", "prometheus_client", "python_multipart"):
        pytest.importorskip(library)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    token = "a-token-of-sixteen-letters-or-more"
    line = [sys.executable, "-m", "stablenormal", "serve", "--port", str(port), "--model", str(toy_model)]
    environment = {**os.environ, "STABLENORMAL_TOKENS": token}
    process = subprocess.Popen(
        [*line, "--device", "cpu"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        where = client.Service(f"http://127.0.0.1:{port}", token=token)
        photo = ROOT / "src/stablenormal/samples/figurine.jpg"
        small = tmp_path / "photo.jpg"
        Image.open(photo).resize((64, 48)).save(small)
        for _ in range(600):  # the first minute, it is not there yet
            try:
                answer = client.request_normals(small.read_bytes(), where, mode="turbo", frame="directx")
                break
            except client.ServiceError as error:
                assert "no answer from" in str(error) or "loaded" in str(error), error
                assert process.poll() is None
                time.sleep(0.1)
        (tmp_path / "a_normal.png").write_bytes(answer)
        stored = read_normal_map(tmp_path / "a_normal.png")
        assert stored.stored_frame == "directx" and stored.valid.shape == (48, 64) and stored.valid.all()
        with pytest.raises(client.ServiceError, match="token"):
            client.request_normals(small.read_bytes(), client.Service(where.address))
        with pytest.raises(client.ServiceError) as refused:
            client.request_normals(b"no photograph", where)
        assert "\n" not in str(refused.value)
    finally:
        process.terminate()
        process.wait()


IN_BLENDER = """
import sys
sys.path.insert(0, {parent!r})
import bpy
bpy.ops.wm.read_factory_settings(use_empty=True)
import stablenormal_addon as addon
addon.register()
entry = bpy.context.preferences.addons.new()
entry.module = "stablenormal_addon"
entry.preferences.address = {address!r}

assert bpy.ops.object.stablenormal_photograph(filepath={photo!r}, mode="turbo", seed=5) == {{"FINISHED"}}
plane = bpy.data.objects["photo"]
assert abs(plane.dimensions.x / plane.dimensions.z - 32 / 24) < 1e-5
nodes = plane.active_material.node_tree.nodes
(surface,) = [node for node in nodes if node.type == "BSDF_PRINCIPLED"]
(turned,) = [node for node in nodes if node.type == "NORMAL_MAP"]
assert surface.inputs["Normal"].links[0].from_node == turned and turned.space == "TANGENT"
picture = turned.inputs["Color"].links[0].from_node
image = picture.image
assert image.colorspace_settings.name == "Non-Color" and image.packed_file is not None and image.is_float
assert tuple(image.size) == (32, 24)
assert all(abs(a - b) < 1e-4 for a, b in zip(image.pixels[:3], (0.2, 0.5, 0.9)))

bpy.context.view_layer.objects.active = plane
assert bpy.ops.material.stablenormal(strength=0.5) == {{"FINISHED"}}  # again: the same nodes
assert len([node for node in nodes if node.type == "NORMAL_MAP"]) == 1
assert len([node for node in nodes if node.type == "TEX_IMAGE"]) == 2
assert turned.inputs["Strength"].default_value == 0.5

painted = bpy.data.images.new("painted", 32, 24)
nodes.get(surface.inputs["Base Color"].links[0].from_node.name).image = painted
assert bpy.ops.material.stablenormal() == {{"FINISHED"}}
for refused in (lambda: bpy.ops.material.stablenormal(),):
    try:
        refused()
    except RuntimeError as error:
        assert "the service asks for a token" in str(error), error
    else:
        raise AssertionError
entry.preferences.address = "https://normals.example.org"
try:
    bpy.ops.material.stablenormal()
except RuntimeError as error:
    assert "Allow Online Access" in str(error), error
else:
    raise AssertionError
addon.unregister()
print("all of it ran")
"""


def test_the_nodes_are_made_in_blender(service: Service, normals_png: bytes, tmp_path: Path) -> None:
    """Where Blender's own Python module is installed."""
    if importlib.util.find_spec("bpy") is None:
        pytest.skip("needs Blender as a module: pip install bpy")
    photo = tmp_path / "photo.jpg"
    Image.new("RGB", (32, 24), (90, 120, 60)).save(photo)
    service.answers = [(200, {}, normals_png)] * 3 + [(401, {}, b"")]
    code = IN_BLENDER.format(parent=str(FOLDER.parent), address=service.address, photo=str(photo))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "all of it ran" in done.stdout, done.stderr[-2000:]
    first, second, third, _ = service.asked
    assert first["body"] == photo.read_bytes() and first["query"]["seed"] == ["5"]
    assert first["query"]["frame"] == ["opengl"] and second["query"]["mode"] == ["full"]
    assert third["body"].startswith(b"\x89PNG")
