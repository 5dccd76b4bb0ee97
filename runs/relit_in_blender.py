"""The picture of the manual's page on other programs: a photograph lit anew in Blender, by its normals.

pip install bpy
python runs/relit_in_blender.py docs/images/relit_in_blender.jpg
"""

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Predict, build the material with the add-on's own functions, render it under two lamps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--photograph", type=Path, default=ROOT / "src/stablenormal/samples/cushion.jpg")
    parser.add_argument("--height", type=int, default=300)
    parser.add_argument("--samples", type=int, default=48)
    options = parser.parse_args()

    import bpy
    from PIL import Image

    import stablenormal

    sys.path.insert(0, str(ROOT / "integrations/blender"))
    from stablenormal_addon import material as materials

    with tempfile.TemporaryDirectory() as folder:
        output = stablenormal.predict(options.photograph)
        output.save(Path(folder) / "normals.png")
        bpy.ops.wm.read_factory_settings(use_empty=True)
        plane = materials.plane_of(bpy.data.images.load(str(options.photograph)))
        material = plane.active_material
        image = materials.normals_image("photo", (Path(folder) / "normals.png").read_bytes())
        materials.connect_normals(material, materials.photograph_node(material), image, 1.0)
        width = round(options.height * plane.dimensions.x / plane.dimensions.z)
        panels = [Image.open(options.photograph), output.to_pil()]
        for x in (-1.6, 1.6):
            path = Path(folder) / f"lit{x}.png"
            _render(bpy, path, (width, options.height), x, options.samples)
            panels.append(Image.open(path))
        gap = 8
        sheet = Image.new("RGB", (4 * width + 3 * gap, options.height), "white")
        for place, panel in enumerate(panels):
            resized = panel.convert("RGB").resize((width, options.height), Image.Resampling.LANCZOS)
            sheet.paste(resized, (place * (width + gap), 0))
        sheet.save(options.picture, quality=88)


def _render(bpy, path: Path, size: tuple[int, int], x: float, samples: int) -> None:  # type: ignore[no-untyped-def]
    """The plane, seen square on, under one lamp at this side."""
    scene = bpy.context.scene
    for old in [one for one in scene.objects if one.type in ("LIGHT", "CAMERA")]:
        bpy.data.objects.remove(old)
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    camera.data.type, camera.data.ortho_scale = "ORTHO", max(1.0, size[0] / size[1])
    camera.location, camera.rotation_euler = (0, -3, 0.5), (1.5708, 0, 0)
    lamp = bpy.data.objects.new("lamp", bpy.data.lights.new("lamp", "AREA"))
    lamp.data.energy, lamp.data.size = 110, 0.5
    lamp.location = (x, -1.2, 1.1)
    lamp.rotation_mode = "QUATERNION"
    direction = camera.location.copy()
    direction.x, direction.y, direction.z = x, -1.2, 0.6
    lamp.rotation_quaternion = direction.to_track_quat("Z", "Y")
    for one in (camera, lamp):
        scene.collection.objects.link(one)
    scene.camera = camera
    scene.render.engine = "CYCLES"
    scene.cycles.device, scene.cycles.samples = "CPU", samples
    scene.render.resolution_x, scene.render.resolution_y = size
    scene.view_settings.view_transform = "Standard"
    scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)


if __name__ == "__main__":
    main()
