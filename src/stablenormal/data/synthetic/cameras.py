"""Where the camera stands: rooms at eye level and low in front of furniture, close-ups, objects, streets."""

from dataclasses import dataclass

import numpy as np

from stablenormal.data.synthetic.draws import Array, Rng, chance, direction, log_uniform, pick
from stablenormal.data.synthetic.scene import Scene
from stablenormal.geometry.camera import Intrinsics


@dataclass(frozen=True)
class Camera:
    """A square pinhole camera with its principal point in the middle."""

    eye: Array
    """Position (3,) in the world."""
    world_to_camera: Array
    """Rotation (3, 3) into the OpenGL frame: x right, y up, z toward the viewer."""
    fov_deg: float
    """Full angle of view, the same in both directions."""
    near: float
    far: float
    kind: str
    """How it was placed: room, front, table, object, street or near."""
    half_width: float = 0.0
    """Half of what an orthographic camera sees across, in metres; 0 is a pinhole camera."""

    def intrinsics(self, size: int) -> Intrinsics:
        """Focal length and principal point of an image of `size` by `size` pixels."""
        focal = size / 2 / np.tan(np.radians(self.fov_deg) / 2)
        return Intrinsics(fx=focal, fy=focal, cx=size / 2, cy=size / 2, width=size, height=size)

    def view(self) -> Array:
        """World to camera as (4, 4)."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.world_to_camera
        matrix[:3, 3] = -self.world_to_camera @ self.eye
        return matrix

    def clip(self) -> Array:
        """World to OpenGL clip space (4, 4)."""
        if self.half_width:
            return parallel(self.half_width, self.near, self.far) @ self.view()
        return perspective(self.fov_deg, self.near, self.far) @ self.view()


def perspective(fov_deg: float, near: float, far: float) -> Array:
    """OpenGL projection (4, 4) of a square pinhole camera."""
    scale = 1 / np.tan(np.radians(fov_deg) / 2)
    depth = [-(far + near) / (far - near), -2 * far * near / (far - near)]
    return np.array([[scale, 0, 0, 0], [0, scale, 0, 0], [0, 0, *depth], [0, 0, -1, 0]])


def parallel(half_width: float, near: float, far: float) -> Array:
    """OpenGL projection (4, 4) of a square orthographic camera."""
    depth = [-2 / (far - near), -(far + near) / (far - near)]
    return np.array([[1 / half_width, 0, 0, 0], [0, 1 / half_width, 0, 0], [0, 0, *depth], [0, 0, 0, 1]])


def looking(heading: Array, roll: float = 0.0) -> Array:
    """World-to-camera rotation (3, 3) of a camera that looks along a vector, rolled by radians."""
    back = -heading / np.linalg.norm(heading)
    right = np.cross([0, 0, 1.0] if abs(back[2]) < 0.98 else [0, 1.0, 0], back)
    right /= np.linalg.norm(right)
    upright = np.stack([right, np.cross(back, right), back])
    cos, sin = np.cos(roll), np.sin(roll)
    rolled: Array = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) @ upright
    return rolled


def place_camera(rng: Rng, scene: Scene) -> Camera:
    """A camera that suits the scene, with pitch and roll."""
    roll = _roll(rng)
    if scene.kind == "object":
        return _around_object(rng, scene, roll)
    if scene.kind == "tabletop":
        return _over_table(rng, scene, roll)
    if scene.kind == "street":
        return _in_street(rng, scene, roll)
    if scene.kind == "foliage":
        return _in_garden(rng, scene, roll)
    if scene.kind == "closeup":
        return _before_front(rng, scene, roll)
    if scene.kind in ("statue", "drapery", "lattice"):
        return _near(rng, scene, roll)
    choice = rng.random()
    if scene.fronts and choice < 0.28:
        return _facing_front(rng, scene, roll)
    if scene.tops and choice < 0.5:
        return _over_table(rng, scene, roll)
    return _in_room(rng, scene, roll)


def _roll(rng: Rng) -> float:
    """Radians: nearly level (about 3 degrees) two times in three, else tilted, very seldom on its side."""
    choice = rng.random()
    if choice < 0.66:
        return float(rng.normal(0, 0.05))
    if choice < 0.985:
        return float(rng.normal(0, 0.2))
    return float(rng.choice([-1, 1]) * np.pi / 2 + rng.normal(0, 0.2))


def _camera(
    eye: Array, heading: Array, roll: float, fov_deg: float, kind: str, near: float = 0.04, far: float = 40.0
) -> Camera:
    return Camera(eye, looking(heading, roll), fov_deg, near, far, kind)


def _inside(scene: Scene, eye: Array, margin: float = 0.12) -> bool:
    return bool(np.all(eye > scene.low + margin) and np.all(eye < scene.high - margin))


def _around_object(rng: Rng, scene: Scene, roll: float) -> Camera:
    fov_deg = log_uniform(rng, 15, 80)
    away = direction(rng)
    if scene.has_ground:
        away[2] = abs(away[2]) * rng.uniform(0.3, 1.3) + rng.uniform(0.02, 0.3)
    elif chance(rng, 0.5):
        away[2] *= 0.3
    away /= np.linalg.norm(away)
    distance = scene.radius * max(1.2, rng.uniform(0.6, 1.15) / np.sin(np.radians(fov_deg) / 2))
    eye = scene.centre + away * distance
    if scene.has_ground:
        eye[2] = max(eye[2], scene.low[2] + 0.1)
    near = max(0.02, 0.2 * (distance - scene.radius * 1.6))
    aim = scene.centre - eye + rng.normal(0, 0.05, 3) * scene.radius
    if not scene.has_ground and chance(rng, 0.2):
        roll *= 3
    return _camera(eye, aim, roll, fov_deg, "object", near, distance + 30)


def _over_table(rng: Rng, scene: Scene, roll: float) -> Camera:
    """Close to a table top, from steep to so low that things stand against the horizon."""
    pose, (half_width, half_depth, height) = pick(rng, scene.tops)
    local = [rng.uniform(-0.8, 0.8) * half_width, rng.uniform(-0.8, 0.8) * half_depth, height, 1]
    target = (pose @ np.array(local))[:3]
    if scene.kind == "tabletop" and chance(rng, 0.6):
        target = pick(rng, scene.focuses)
    for _ in range(20):
        rise = np.radians(rng.uniform(4, 30) if chance(rng, 0.4) else rng.uniform(15, 80))
        turn = rng.uniform(-2.5, -0.6) if scene.kind == "tabletop" else rng.random() * 2 * np.pi
        away = np.array([np.cos(turn) * np.cos(rise), np.sin(turn) * np.cos(rise), np.sin(rise)])
        eye = target + log_uniform(rng, 0.28, 1.4) * away
        if scene.kind == "tabletop" or _inside(scene, eye):
            break
    return _camera(
        eye, target + [0, 0, rng.uniform(0, 0.08)] - eye, roll, rng.uniform(30, 85), "table", 0.02, 30
    )


def _facing_front(rng: Rng, scene: Scene, roll: float) -> Camera:
    """Before a cabinet, shelf or sofa, low or close, so that its front fills the lower half."""
    middle, facing, size = pick(rng, scene.fronts)
    for _ in range(20):
        turn, distance = rng.normal(0, 0.45), size * rng.uniform(0.4, 1.4) + 0.2
        cos, sin = np.cos(turn), np.sin(turn)
        away = np.array([cos * facing[0] - sin * facing[1], sin * facing[0] + cos * facing[1], 0.0])
        eye = middle + away * distance
        eye[2] = rng.uniform(0.15, 1.0) if chance(rng, 0.5) else rng.uniform(0.9, 1.7)
        if _inside(scene, eye):
            break
    side = np.array([-facing[1], facing[0], 0.0]) * rng.uniform(-0.3, 0.3) * size
    target = middle + side + [0, 0, rng.uniform(-0.35, 0.45)]
    return _camera(eye, target - eye, roll, rng.uniform(35, 85), "front")


def _before_front(rng: Rng, scene: Scene, roll: float) -> Camera:
    """Close to a front that fills the picture, from any height: level, looking down on it, or up."""
    middle, facing, size = pick(rng, scene.fronts)
    fov_deg = rng.uniform(32, 95)
    turn, rise = rng.uniform(-1.1, 1.1), np.radians(rng.uniform(-25, 55))
    cos, sin = np.cos(turn), np.sin(turn)
    level = np.array([cos * facing[0] - sin * facing[1], sin * facing[0] + cos * facing[1], 0.0])
    away = np.cos(rise) * level + np.array([0, 0, np.sin(rise)])
    target = middle + rng.uniform(-0.3, 0.3, 3) * size * [1, 0, 1]
    target[2] = np.clip(target[2], 0.02, None)
    distance = (
        size
        / 2
        / np.tan(np.radians(fov_deg) / 2)
        * (rng.uniform(0.25, 0.7) if chance(rng, 0.7) else rng.uniform(0.7, 1.1))
        + 0.05
    )
    eye = _before_backdrop(scene, target + away * distance)
    eye[2] = max(eye[2], 0.05)
    return _camera(eye, target - eye, roll, fov_deg, "front", 0.02, 30)


def _near(rng: Rng, scene: Scene, roll: float) -> Camera:
    """Before things that stand in front of a wall, near enough that one of them fills the picture, or not."""
    fov_deg = rng.uniform(30, 85)
    target = pick(rng, scene.focuses) + rng.normal(0, 0.06, 3) * scene.radius
    rise = np.radians(np.clip(rng.normal(30 if scene.kind == "drapery" else 12, 24), -35, 85))
    turn = -np.pi / 2 + rng.uniform(-1.2, 1.2) if scene.backdrop else rng.random() * 2 * np.pi
    away = np.array([np.cos(turn) * np.cos(rise), np.sin(turn) * np.cos(rise), np.sin(rise)])
    size = scene.radius * (rng.uniform(0.25, 0.65) if chance(rng, 0.75) else rng.uniform(0.12, 1.0))
    eye = target + away * (size / np.tan(np.radians(fov_deg) / 2) + 0.1)
    if scene.has_ground:
        eye[2] = max(eye[2], 0.06)
    if scene.backdrop:
        eye = _before_backdrop(scene, eye)
    return _camera(eye, target - eye, roll, fov_deg, "near", 0.02, 40)


def _before_backdrop(scene: Scene, eye: Array) -> Array:
    """The eye moved to this side of the wall behind and of a wall beside the scene."""
    return np.array(
        [np.clip(eye[0], scene.low[0] - 0.5, scene.high[0] + 0.5), min(eye[1], scene.high[1] - 0.05), eye[2]]
    )


def _in_garden(rng: Rng, scene: Scene, roll: float) -> Camera:
    """From eye height down to the grass, among plants."""
    target = pick(rng, scene.focuses)
    fov_deg, turn = rng.uniform(32, 95), rng.random() * 2 * np.pi
    away = np.array([np.cos(turn), np.sin(turn), 0.0]) * log_uniform(rng, 0.6, 6)
    eye = target + away
    eye[2] = target[2] + (rng.uniform(0.2, 1.5) if chance(rng, 0.7) else rng.uniform(-0.1, 0.3))
    return _camera(eye, target - eye + [0, 0, rng.normal(0, 0.1)], roll, fov_deg, "near", 0.05, 120)


def _in_room(rng: Rng, scene: Scene, roll: float) -> Camera:
    height = scene.high[2]
    for _ in range(30):
        eye = rng.uniform(scene.low + 0.2, scene.high - 0.2)
        eye[2] = rng.uniform(1.0, 1.8) if chance(rng, 0.6) else rng.uniform(0.2, height - 0.2)
        if scene.focuses and chance(rng, 0.8):
            target = pick(rng, scene.focuses) + rng.normal(0, 0.25, 3)
        else:
            target = rng.uniform(scene.low, scene.high)
        if np.linalg.norm((target - eye)[:2]) > 0.8:
            break
    heading = target - eye
    if chance(rng, 0.4):
        pitch = np.radians(np.clip(rng.normal(-10, 24), -75, 60))
        heading[2] = np.linalg.norm(heading[:2]) * np.tan(pitch)
    fov_deg = rng.uniform(30, 85) if chance(rng, 0.75) else rng.uniform(75, 100)
    return _camera(eye, heading, roll, fov_deg, "room")


def _in_street(rng: Rng, scene: Scene, roll: float) -> Camera:
    eye = rng.uniform(scene.low, scene.high) * [1, 0.6, 1]
    eye[2] = rng.uniform(1.2, 2.2) if chance(rng, 0.8) else rng.uniform(0.4, 6)
    if chance(rng, 0.5):
        heading = np.array([rng.normal(0, 0.35), pick(rng, (-1, 1)), 0.0])
    else:
        heading = pick(rng, scene.focuses) - eye
    heading[2] = np.linalg.norm(heading[:2]) * np.tan(np.radians(rng.normal(0, 8)))
    return _camera(eye, heading, roll, rng.uniform(35, 95), "street", 0.1, 200)
