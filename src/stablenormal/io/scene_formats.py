"""Which kind of scene a path is, and whether its photographs are there."""

from dataclasses import replace
from pathlib import Path

from stablenormal.errors import SceneError, argument
from stablenormal.io.colmap import colmap_folder, read_colmap
from stablenormal.io.scene import PosedScene
from stablenormal.io.transforms_json import read_transforms, transforms_file


def read_scene(path: Path | str, images: Path | str | None = None) -> PosedScene:
    """Read a scene; its photographs are read one by one, by `stablenormal.io.scene.read_view`.

    Args:
        path: a folder or a JSON file, as the table in `stablenormal.io.scene` says.
        images: folder of the photographs; by default what the scene says: for COLMAP `images` beside the
            model.

    Raises:
        SceneError: if there is no scene, it is damaged, its camera model is not supported, or no photograph
            is there.
    """
    path = Path(path)
    if not path.exists():
        raise SceneError(f"{path}: no such scene; name a COLMAP folder or a transforms.json")
    source = transforms_file(path)
    if source is not None:
        scene = read_transforms(source, None if images is None else Path(images))
    else:
        model = colmap_folder(path)
        if model is None:
            raise SceneError(
                f"{path}: holds neither transforms.json nor a COLMAP model (cameras.txt or cameras.bin); "
                "name the folder of one"
            )
        scene = read_colmap(path, model, None if images is None else Path(images))
    return _with_present_images(scene)


def _with_present_images(scene: PosedScene) -> PosedScene:
    if not scene.views:
        raise SceneError(f"{scene.path}: the scene has no view; export it again")
    names: dict[str, Path] = {}
    for view in scene.views:
        if view.name.lower() in names:
            first = names[view.name.lower()]
            raise SceneError(f"{scene.path}: {first} and {view.image} share a name; rename one of them")
        names[view.name.lower()] = view.image
    missing = tuple(
        f"{view.image}: no such image, named by {scene.path}; put it there or give {argument('images')}"
        for view in scene.views
        if not view.image.is_file()
    )
    if len(missing) == len(scene.views):
        raise SceneError(f"{scene.path}: none of its {len(missing)} images is there; the first: {missing[0]}")
    present = sorted((view for view in scene.views if view.image.is_file()), key=lambda view: view.name)
    return replace(scene, views=tuple(present), missing=missing)
