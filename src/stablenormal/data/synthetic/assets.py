"""A bank of models that others made: read once from catalogues and folders, kept in one file, loaded fast."""

import io
import json
import logging
import os
import re
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from stablenormal.data.synthetic.catalogues import Entry, entries, fingerprint
from stablenormal.data.synthetic.draws import Array
from stablenormal.data.synthetic.materials import Paint
from stablenormal.data.synthetic.meshes import Mesh, in_order_of_use, mesh_from_faces, wound_alike
from stablenormal.data.synthetic.model_files import Beside, ModelPart, read_model
from stablenormal.data.synthetic.simplifying import lighter
from stablenormal.data.synthetic.textures import SIZE
from stablenormal.errors import DataError
from stablenormal.io.atomic import write_bytes

BANK_SUFFIX = ".assets"
FORMAT = 2
"""Raised whenever the same models would be prepared differently."""
MOST_TRIANGLES = 24_000
"""Of one model; heavier ones are simplified to it: vertices are what the rasteriser's time goes into."""
CUT_OUT = 0.04
"""A model is skipped if more of its surface than this is cut out by its pictures' opacity."""
LARGEST = 25.0
"""Metres: a file without a stated size that would be larger is taken as centimetres, then millimetres."""
POSITION_STEPS, NORMAL_STEPS, UV_STEPS = 8191, 511, 8192
"""Steps that a file keeps: of a part's box, of a normal's length (0.06 degrees), of a picture's side."""
UV_PAIRS = ([1, 2], [0, 2], [0, 1])
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AssetPart:
    """What a model shows in one material."""

    mesh: Mesh
    paint: Paint
    role: str
    """What else it may be made of: a key of materials.ROLES."""

    @property
    def own_texture(self) -> bool:
        """Whether its texture coordinates are the model's own."""
        return self.paint.picture >= 0


@dataclass(frozen=True)
class Asset:
    """A model in its real size: it stands on z = 0 about the origin, faces -y, back at +y. Metres."""

    name: str
    category: str
    """As the catalogue says; empty for models of folders."""
    label: str
    """A name of sample.CLASSES."""
    place: str
    """Where it belongs: floor, small, wall, ceiling, opening or outdoors."""
    parts: tuple[AssetPart, ...]
    low: Array
    """Lowest corner (3,)."""
    high: Array
    tops: Array
    """(T, 6) surfaces things can stand on: middle x, y, half width, half depth, height, room above it."""
    elevation: float
    against_wall: bool
    triangles: int

    @property
    def size(self) -> Array:
        """Width, depth and height (3,)."""
        return self.high - self.low

    @property
    def footprint(self) -> float:
        """Reach from the origin over the floor."""
        return float(np.abs([self.low[:2], self.high[:2]]).max())


@dataclass
class Report:
    """What became of the models of some catalogues and folders."""

    read: int = 0
    skipped: list[str] = field(default_factory=list)
    """One line each: which model and why."""
    plain: list[str] = field(default_factory=list)
    """Models that are used without their missing MTL or picture, one line each."""
    turned: int = 0
    """Models of which some faces were turned: they faced inward or otherwise than their neighbours."""

    def summary(self) -> str:
        """One line."""
        return (
            f"{self.read} models read, {len(self.skipped)} skipped, {len(self.plain)} without their MTL or a "
            f"picture, {self.turned} with faces turned inward or about (turned back)"
        )


@dataclass(frozen=True)
class AssetBank:
    """Models ready to be placed."""

    assets: tuple[Asset, ...]
    pictures: npt.NDArray[np.uint8]
    """(L, SIZE, SIZE, 4), as `Bank.textures`; `Paint.picture` counts from its first row."""
    fingerprint: str
    """Names the models: another set, another name."""

    def painted_from(self, first: int) -> tuple[Asset, ...]:
        """The models when the pictures begin at row `first` of a bank's textures."""

        def moved(part: AssetPart) -> AssetPart:
            if not part.own_texture:
                return part
            return replace(part, paint=replace(part.paint, picture=part.paint.picture + first))

        return tuple(
            replace(asset, parts=tuple(moved(part) for part in asset.parts)) for asset in self.assets
        )


def prepared_bank(
    paths: Sequence[Path], cache: Path | None = None, progress: Callable[[int], None] = lambda done: None
) -> tuple[Path, Report]:
    """The file with the prepared models of these catalogues and folders, made if it is not there yet.

    Args:
        paths: catalogues and folders, or one file that was prepared before.
        cache: folder for prepared files; the user's cache folder if not given.
        progress: called with the number of models done.

    Returns:
        The file, for `load_bank`, and what was read and skipped.

    Raises:
        DataError: if a path is missing or unreadable, or no model is left.
        OutputError: if the file cannot be written.
    """
    if len(paths) == 1 and paths[0].suffix == BANK_SUFFIX and paths[0].is_file():
        return paths[0], _read_header(paths[0])[1]
    name = fingerprint(paths) if all(path.exists() for path in paths) else ""
    found = entries(paths)
    if not name:
        list(found)  # raises, and says which path does not exist
    target = (cache or cache_folder()) / f"{name}-{FORMAT}{BANK_SUFFIX}"
    if target.is_file():
        return target, _read_header(target)[1]
    report = Report()
    pictures = _Pictures()
    assets: list[Asset] = []
    for number, entry in enumerate(found):
        asset = _prepare(entry, pictures, report)
        if asset is not None:
            assets.append(asset)
        progress(number + 1)
    if not assets:
        raise DataError(f"{', '.join(map(str, paths))}: no model can be used; {report.skipped[0]}")
    write_bytes(target, _encoded(assets, pictures.encoded, name, report))
    return target, report


def cache_folder() -> Path:
    """Where prepared models are kept: below XDG_CACHE_HOME or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stablenormal" / "assets"


class _Pictures:
    """The pictures of all models, each once, in the side of the bank's textures."""

    def __init__(self) -> None:
        self.encoded: list[bytes] = []
        self._rows: dict[bytes, int] = {}

    def row(self, picture: npt.NDArray[np.uint8]) -> int:
        """Where this picture (H, W, 4) stands."""
        small = cv2.resize(picture[..., :3], (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        data = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 93])[1].tobytes()
        if data not in self._rows:
            self._rows[data] = len(self.encoded)
            self.encoded.append(data)
        return self._rows[data]


def _prepare(entry: Entry, pictures: _Pictures, report: Report) -> Asset | None:
    """One model made ready, or None and a line in the report."""
    try:
        data = entry.read(entry.path)
    except (KeyError, OSError, zipfile.BadZipFile) as error:
        report.skipped.append(f"{entry.source}: {entry.path}: cannot be read ({error}); fetch it again")
        return None
    beside = Beside(entry.path.rpartition("/")[0], entry.read)
    try:
        parts = read_model(entry.path, data, beside)
        asset, turned = _placed(entry, parts, pictures)
    except DataError as error:
        report.skipped.append(f"{entry.source}: {error}")
        return None
    if beside.missing:
        lost = ", ".join(sorted(set(beside.missing)))
        report.plain.append(f"{entry.source}: {entry.path}: {lost} is missing; used in plain colours")
    report.read += 1
    report.turned += turned > 0
    return asset


def _placed(entry: Entry, parts: list[ModelPart], pictures: _Pictures) -> tuple[Asset, int]:
    """The model in metres, z up, on the floor; and how many faces were turned."""
    parts = _without_cut_outs(entry, parts)
    share = MOST_TRIANGLES / sum(len(part.faces) for part in parts)
    if share < 1:
        parts = [lighter(part, share) if len(part.faces) > 200 else part for part in parts]
    axes = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]) @ entry.rotation  # y up becomes z up
    points = [part.points @ axes.T for part in parts]
    used = np.vstack([at[np.unique(part.faces)] for at, part in zip(points, parts, strict=True)])
    low, high = used.min(0), used.max(0)
    extent = high - low
    if entry.size is not None:
        scale = entry.size / np.maximum(extent, 1e-9)
        scale[extent < 1e-6 * extent.max()] = 1.0  # a flat thing stays flat
    else:
        largest, factor = float(extent.max()), 1.0
        while largest * factor > LARGEST:
            factor /= 100 if factor == 1 else 10
        scale = np.full(3, factor)
    shift = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]])
    made, turned = [], 0
    label, role, place = _classify(entry, extent * scale)
    for at, part in zip(points, parts, strict=True):
        here = (at - shift) * scale
        faces, flipped = wound_alike(here, part.faces)
        turned += flipped
        uv = None
        if part.uv is not None:
            uv = part.uv - np.floor(part.uv.reshape(-1, 2).min(0))
            uv = np.stack([uv[..., 0], 1 - uv[..., 1]], -1)
            uv = uv.clip(-1000, 1000)  # 256 texels a unit: float32 tells no finer steps farther out
        mesh = mesh_from_faces(here, faces, uv=uv)
        if len(mesh.faces):
            mesh = in_order_of_use(mesh)
            made.append(AssetPart(mesh, _paint(part, pictures), _role(part, role)))
    if not made:
        raise DataError(f"{entry.path}: all its triangles are without area; export it as a triangle mesh")
    bounds = [part.mesh.bounds() for part in made]
    size = extent * scale
    asset = Asset(
        name=entry.name,
        category=entry.category,
        label=label,
        place=place,
        parts=tuple(made),
        low=np.min([a for a, _ in bounds], 0),
        high=np.max([b for _, b in bounds], 0),
        tops=_tops(made, entry.drop) if label in ("table", "cabinet", "shelf") else np.zeros((0, 6)),
        elevation=entry.elevation,
        against_wall=label in ("cabinet", "shelf", "bed") or bool(label == "sofa" and size[0] > 1.2),
        triangles=sum(len(part.mesh.faces) for part in made),
    )
    return asset, turned


def _without_cut_outs(entry: Entry, parts: list[ModelPart]) -> list[ModelPart]:
    """The parts without the faces that their pictures make invisible.

    Raises:
        DataError: if faces are partly cut out: a leaf drawn on a square is not rendered as a leaf.
    """
    kept, whole, cut = [], 0.0, 0.0
    for part in parts:
        corners = part.points[part.faces]
        across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        area = np.linalg.norm(across, axis=1)
        whole += float(area.sum())
        if part.picture is None or part.uv is None or part.picture[..., 3].min() > 200:
            kept.append(part)
            continue
        weights = np.array([[1, 1, 1], [4, 1, 1], [1, 4, 1], [1, 1, 4], [2, 2, 1], [1, 2, 2]], float)
        spots = (weights / weights.sum(1, keepdims=True)) @ part.uv  # (F, 6, 2)
        rows, columns = part.picture.shape[:2]
        u, v = np.floor(spots[..., 0] % 1 * columns), np.floor((1 - spots[..., 1]) % 1 * rows)
        opacity = part.picture[..., 3][v.astype(int) % rows, u.astype(int) % columns]
        clear = (opacity < 110).mean(1)
        seen = clear < 1
        cut += float((area * clear)[seen].sum())
        kept.append(replace(part, faces=part.faces[seen], uv=part.uv[seen]))
    if cut > CUT_OUT * whole:
        raise DataError(f"{entry.path}: its pictures cut shapes out of its faces, which is not rendered")
    kept = [part for part in kept if len(part.faces)]
    if not kept:
        raise DataError(f"{entry.path}: its pictures make all its faces invisible")
    return kept


def _paint(part: ModelPart, pictures: _Pictures) -> Paint:
    name, opacity = part.material, part.opacity
    if opacity > 0.95 and part.picture is None and re.search(r"glas|verre|vitre|crystal|cristal", name):
        opacity = 0.25
    red, green, blue = part.colour
    grey = max(part.colour) - min(part.colour) < 0.12
    metal = bool(re.search(r"metal|chrom|steel|acier|alumin|iron|inox|silver|gold|brass|copper", name))
    row = -1 if part.picture is None else pictures.row(part.picture)
    return Paint((red, green, blue), row, opacity, part.gloss, metal and (grey or "gold" in name))


_LABELS: tuple[tuple[str, str, str], ...] = (
    (r"bedside|wardrobe|cupboard|cabinet|dresser|\bchest\b|vanity|sideboard|drawer|locker|\bsafe\b",
     "cabinet", "furniture"),
    (r"fridge|refriger|freezer|stove|\boven|cooker|washing|dryer|dishwash|island|\bsink\b|hood|tv stand"
     r"|television cab|piano|fireplace|radiator|furnace|water heater", "cabinet", "appliance"),
    (r"washbasin|toilets|bidet|urinal|\bbath\b|bathtub|shower", "cabinet", "appliance"),
    (r"bookcase|shel(f|ves)|contemporary living", "shelf", "furniture"),
    (r"sofa|couch|\bpuff\b", "sofa", "soft"),
    (r"\bbed\b|hammock", "bed", "soft"),
    (r"chair|stool|\bseat\b|bench|lounge|deckchair", "chair", "furniture"),
    (r"\btable\b|desk", "table", "table"),
    (r"lamp|light|lantern|chandelier|candle", "lamp", "shade"),
    (r"plant|tree|flower|tulip|lily|orchid|bonsai|bamboo|cactus|ficus|yucca|palm|maple|beech|pine|hedge|bush"
     r"|cypress|poplar|acacia|coconut|spathi|peach|succulent|rose", "plant", "leaf"),
    (r"\bbooks?\b", "book", "book"),
    (r"curtain", "curtain", "soft"),
    (r"carpet|\brug\b|tatami|mat\b", "rug", "soft"),
    (r"\bdoor\b|gate", "door", "furniture"),
    (r"window|shutter", "window", "furniture"),
    (r"frame|picture|painting|poster|\btv\b", "picture", "plastic"),
)  # fmt: skip
"""Words of a name, the class they tell, and what such a thing may be made of."""
_BIG = ("chair", "table", "cabinet", "sofa", "bed", "shelf", "door", "rug")


def _classify(entry: Entry, size: Array) -> tuple[str, str, str]:
    """Label, role and place of a model of this size (3,) in metres."""
    name = entry.name.lower()
    label, role = next(
        ((label, role) for words, label, role in _LABELS if re.search(words, name)), ("object", "object")
    )
    largest = float(size.max())
    if entry.category == "Doors and windows":
        return label, role, "opening"
    if (
        entry.category in ("Exterior", "Vehicles", "Staircases")
        and largest > 0.9
        and label not in ("chair", "table")
    ):
        return label, role, "outdoors"
    if largest > 3.4 or size[2] > 2.6 or (size[2] < 0.012 and largest > 0.45 and label != "rug"):
        return label, role, "outdoors"
    if label == "lamp" and entry.elevation + size[2] > 2.2:
        return label, role, "ceiling"
    if entry.elevation > 0.02:
        return label, role, "wall"
    if largest < 0.62 and (label not in _BIG or largest < 0.3):
        return ("object" if label in _BIG else label), ("object" if label in _BIG else role), "small"
    return label, role, "floor"


def _role(part: ModelPart, role: str) -> str:
    """What a part may be made of, by the name of its material, else as the whole."""
    for words, other in (
        (r"wood|bois|oak|pine|teak|holz|legno", "furniture"),
        (r"leather|cuir|fabric|cloth|tissu|cotton|velvet|cushion|pillow|matt?ress", "soft"),
        (r"metal|chrom|steel|inox", "metal"),
        (r"plastic", "plastic"),
        (r"lea(f|ves)|feuille", "leaf"),
    ):
        if re.search(words, part.material):
            return other
    return role


def _tops(parts: Sequence[AssetPart], drop: float) -> Array:
    """Level surfaces (T, 6) with at least 12 cm of room above: middle, halves, height, room."""
    corners = np.vstack([part.mesh.positions[part.mesh.faces] for part in parts]).astype(float)
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(across, axis=1) / 2
    level = np.abs(across[:, 2]) > 1.9 * area
    corners, area = corners[level], area[level]
    if not len(area):
        return np.zeros((0, 6))
    height = corners[..., 2].mean(1)
    low, high = corners.reshape(-1, 3).min(0), corners.reshape(-1, 3).max(0)
    whole = float(np.prod((high - low)[:2]))
    bins = np.round(height / 0.015).astype(int)
    found = []
    for step in np.unique(bins):
        near = np.abs(bins - step) <= 1
        if area[bins == step].sum() > 0.15 * whole and area[near].sum() > 0.3 * whole:
            points = corners[bins == step].reshape(-1, 3)
            found.append((float(points[:, 2].max()), points[:, :2].min(0), points[:, :2].max(0)))
    if drop > 0 and not any(abs(z - drop) < 0.05 for z, _, _ in found):
        found.append((drop, low[:2] * 0.7 + high[:2] * 0.3, low[:2] * 0.3 + high[:2] * 0.7))
    rows = []
    heights = sorted(z for z, _, _ in found)
    for z, a, b in sorted(found, key=lambda one: one[0]):
        above = min([other - z for other in heights if other > z + 0.004], default=1.0)
        if above > 0.12 and z > 0.03:
            rows.append([*(a + b) / 2, *(b - a) / 2 * 0.85, z, above])
    return np.array(rows).reshape(-1, 6)


def _encoded(assets: Sequence[Asset], pictures: Sequence[bytes], name: str, report: Report) -> bytes:
    """The bank as the bytes of an .npz with JSON inside."""
    meshes = [part.mesh for asset in assets for part in asset.parts]
    vertices = np.vstack([mesh.vertices for mesh in meshes])
    own = np.repeat(
        [part.own_texture for asset in assets for part in asset.parts],
        [len(mesh.vertices) for mesh in meshes],
    )
    about = {
        "format": FORMAT,
        "fingerprint": name,
        "report": asdict(report),
        "assets": [
            {
                "name": asset.name, "category": asset.category, "label": asset.label, "place": asset.place,
                "elevation": asset.elevation, "against_wall": asset.against_wall, "tops": asset.tops.tolist(),
                "parts": [
                    {"vertices": len(part.mesh.vertices), "faces": len(part.mesh.faces), "role": part.role,
                     "paint": asdict(part.paint)}
                    for part in asset.parts
                ],
            }
            for asset in assets
        ],
    }  # fmt: skip
    bounds = np.array([mesh.bounds() for mesh in meshes])  # (parts, 2, 3)
    owner = np.repeat(np.arange(len(meshes)), [len(mesh.vertices) for mesh in meshes])
    low, extent = bounds[owner, 0], np.maximum(bounds[owner, 1] - bounds[owner, 0], 1e-9)
    corners = np.concatenate([mesh.faces.ravel() for mesh in meshes])
    stream = io.BytesIO()
    np.savez_compressed(
        stream,
        about=np.frombuffer(json.dumps(about).encode(), np.uint8),
        bounds=bounds,
        positions=_steps(np.rint((vertices[:, :3] - low) / extent * POSITION_STEPS).astype(np.uint16)),
        normals=_steps(np.rint(vertices[:, 3:6] * NORMAL_STEPS).astype(np.int16)),
        uv=_steps(np.rint(vertices[own, 6:].astype(float) * UV_STEPS).astype(np.int32)),
        axes=_projection_axes(vertices[~own]),
        corners=_steps(corners.astype(np.int32)[:, None]),
        pictures=np.frombuffer(b"".join(pictures), np.uint8),
        picture_sizes=np.array([len(data) for data in pictures], np.int64),
    )
    return stream.getvalue()


def _steps(rows: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Differences from row to row (they wrap around), all first bytes first: smaller when compressed."""
    steps = np.ascontiguousarray(np.diff(rows, axis=0, prepend=np.zeros_like(rows[:1])).T)
    return np.moveaxis(steps.view(np.uint8).reshape(*steps.shape, steps.itemsize), -1, 0).copy()


def _summed(planes: npt.NDArray[np.uint8], kind: type[np.integer[Any]]) -> npt.NDArray[Any]:
    """The rows (N, K) of `_steps`, of this type."""
    steps = np.moveaxis(planes, 0, -1).copy().view(kind)[..., 0]
    return np.cumsum(steps, axis=1, dtype=kind).T


def _projection_axes(vertices: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Which pair of coordinates is the texture coordinate of each vertex (V,), as `meshes.box_uv` chose."""
    off = [np.abs(vertices[:, pair] - vertices[:, 6:]).max(1) for pair in UV_PAIRS]
    nearest: npt.NDArray[np.uint8] = np.argmin(off, axis=0).astype(np.uint8)
    return nearest


def _read_header(path: Path) -> tuple[dict[str, Any], Report]:
    try:
        with path.open("rb") as stream, np.load(stream) as stored:
            about = json.loads(stored["about"].tobytes())
        if about["format"] != FORMAT:
            raise DataError(
                f"{path}: was prepared by another version (format {about['format']}, not {FORMAT}); delete it"
            )
        return about, Report(**about["report"])
    except DataError:
        raise
    except Exception as error:  # numpy and zipfile raise many kinds on broken files
        raise DataError(f"{path}: cannot be read as prepared models ({error}); delete it") from None


def bank_name(path: Path) -> str:
    """The fingerprint of the models in a prepared file.

    Raises:
        DataError: as `load_bank`.
    """
    return str(_read_header(path)[0]["fingerprint"])


def load_bank(path: Path) -> AssetBank:
    """The models of a file made by `prepared_bank`.

    Raises:
        DataError: if the file cannot be read or another version made it.
    """
    about, _ = _read_header(path)
    try:
        return _read_bank(path, about)
    except Exception as error:  # numpy, zipfile and OpenCV raise many kinds on broken files
        raise DataError(f"{path}: cannot be read as prepared models ({error}); delete it") from None


def _read_bank(path: Path, about: dict[str, Any]) -> AssetBank:
    with path.open("rb") as stream, np.load(stream) as stored:
        bounds, axes = stored["bounds"], stored["axes"]
        own_uv = _summed(stored["uv"], np.int32).astype(np.float32) / UV_STEPS
        steps = _summed(stored["positions"], np.uint16)
        normals = _summed(stored["normals"], np.int16).astype(np.float32)
        faces = np.ascontiguousarray(_summed(stored["corners"], np.int32)).reshape(-1, 3)
        blob, sizes = stored["pictures"].tobytes(), stored["picture_sizes"]
    counts = [part["vertices"] for said in about["assets"] for part in said["parts"]]
    low, high = np.repeat(bounds.astype(np.float32), counts, axis=0).transpose(1, 0, 2)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    positions = low + steps / np.float32(POSITION_STEPS) * (high - low)
    own = np.repeat(
        [part["paint"]["picture"] >= 0 for said in about["assets"] for part in said["parts"]], counts
    )
    uv = np.empty((len(positions), 2), np.float32)
    uv[own] = own_uv
    uv[~own] = np.take_along_axis(positions[~own], np.array(UV_PAIRS)[axes], 1)
    vertices = np.hstack([positions, normals, uv])
    assets, vertex, face = [], 0, 0
    for said in about["assets"]:
        parts = []
        for part in said["parts"]:
            mesh = Mesh(vertices[vertex : vertex + part["vertices"]], faces[face : face + part["faces"]])
            vertex, face = vertex + part["vertices"], face + part["faces"]
            paint = Paint(**{**part["paint"], "colour": tuple(part["paint"]["colour"])})
            parts.append(AssetPart(mesh, paint, part["role"]))
        bounds = [part.mesh.bounds() for part in parts]
        assets.append(
            Asset(
                name=said["name"], category=said["category"], label=said["label"], place=said["place"],
                parts=tuple(parts),
                low=np.min([a for a, _ in bounds], 0), high=np.max([b for _, b in bounds], 0),
                tops=np.array(said["tops"]).reshape(-1, 6), elevation=said["elevation"],
                against_wall=said["against_wall"], triangles=sum(len(part.mesh.faces) for part in parts),
            )
        )  # fmt: skip
    ends = np.cumsum(sizes)
    rows = [blob[end - size : end] for end, size in zip(ends.tolist(), sizes.tolist(), strict=True)]
    pictures = np.full((len(rows), SIZE, SIZE, 4), 128, np.uint8)
    for row, data in zip(pictures, rows, strict=True):
        row[..., :3] = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))[..., ::-1]
    return AssetBank(tuple(assets), pictures, about["fingerprint"])
