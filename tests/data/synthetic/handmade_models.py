"""Little models and catalogues, written by the tests themselves."""

import io
import zipfile
from pathlib import Path

import numpy as np
import trimesh
from PIL import Image

CUBE = """
v 0 0 0
v 1 0 0
v 1 1 0
v 0 1 0
v 0 0 1
v 1 0 1
v 1 1 1
v 0 1 1
vt 0 0
vt 1 0
vt 1 1
vt 0 1
"""
SIDES = ("4 3 2 1", "5 6 7 8", "1 2 6 5", "2 3 7 6", "3 4 8 7", "4 1 5 8")
"""The cube's squares, each seen from outside: back, front, bottom, right, top, left."""


def cube_obj(
    material: str = "paint", sides: tuple[str, ...] = SIDES, library: str | None = "model.mtl"
) -> str:
    """A unit cube as an OBJ with texture coordinates."""
    faces = ["f " + " ".join(f"{v}/{k}" for k, v in enumerate(side.split(), 1)) for side in sides]
    head = f"mtllib {library}\n" if library else ""
    return head + CUBE + f"usemtl {material}\n" + "\n".join(faces) + "\n"


def mtl(material: str = "paint", lines: str = "Kd 0.8 0.2 0.1\nd 1.0") -> str:
    """A material library with one material."""
    return f"newmtl {material}\n{lines}\n"


def picture_png(size: int = 8) -> bytes:
    """A picture: red above, blue below, its right half darker."""
    pixels = np.zeros((size, size, 3), np.uint8)
    pixels[: size // 2, :, 0] = pixels[size // 2 :, :, 2] = 255
    pixels[:, size // 2 :] //= 2
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "png")
    return stream.getvalue()


def cube_glb(metres: float = 0.2) -> bytes:
    """A cube of this side as a GLB."""
    return bytes(trimesh.creation.box((metres, metres, metres)).export(file_type="glb"))


def write_catalogue(path: Path, models: dict[str, dict[str, str]], files: dict[str, bytes]) -> Path:
    """A .sh3f catalogue: model name -> its properties, and the files beside."""
    lines = ["id=Test", "license=Test licence"]
    for number, (name, properties) in enumerate(models.items(), 1):
        lines.append(f"name#{number}={name}")
        lines += [f"{key}#{number}={value}" for key, value in properties.items()]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("PluginFurnitureCatalog.properties", "\n".join(lines))
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def furnished_catalogue(path: Path) -> Path:
    """A catalogue with something for every place: cubes that are named and sized as furniture."""
    sizes = {
        "Lower cabinet": ("Kitchen", 60, 60, 88, 0), "Upper cabinet": ("Kitchen", 60, 35, 70, 145),
        "Bookcase": ("Living room", 80, 30, 180, 0), "Table": ("Living room", 120, 80, 74, 0),
        "Chair": ("Living room", 45, 50, 90, 0), "Sofa": ("Living room", 180, 80, 80, 0),
        "Bed": ("Bedroom", 140, 200, 50, 0), "Desk": ("Office", 120, 60, 72, 0),
        "Bidet": ("Bathroom", 40, 55, 50, 0), "Bottle": ("Kitchen", 8, 8, 30, 0),
        "Cup": ("Kitchen", 9, 9, 10, 0), "Book": ("Miscellaneous", 18, 28, 2.4, 0),
        "Hanging lamp": ("Lights", 40, 40, 60, 185), "Door": ("Doors and windows", 90, 15, 205, 0),
        "Car": ("Vehicles", 170, 400, 150, 0), "Dog": ("Characters", 30, 80, 60, 0),
    }  # fmt: skip
    models = {
        name: {
            "category": category, "model": "/a/cube.obj" if k % 2 else "/a/plain.obj", "width": str(w),
            "depth": str(d), "height": str(h), "elevation": str(up), "creator": f"Maker {k}",
        }
        for k, (name, (category, w, d, h, up)) in enumerate(sizes.items())
    }  # fmt: skip
    files = {
        "a/cube.obj": cube_obj().encode(), "a/model.mtl": mtl(lines="Kd 1 1 1\nmap_Kd wood.png").encode(),
        "a/wood.png": picture_png(), "a/plain.obj": cube_obj(library="plain.mtl").encode(),
        "a/plain.mtl": mtl().encode(),
    }  # fmt: skip
    return write_catalogue(path, models, files)
