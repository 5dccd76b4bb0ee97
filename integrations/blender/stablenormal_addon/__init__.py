"""StableNormal in Blender: the normals of a material's photograph, from a service that runs the model.

The panel is in the sidebar of the Shader Editor and in the one of the 3D view. The service is started with
`stablenormal serve`; its address and token are in the add-on's preferences.
"""

import threading
from pathlib import Path
from typing import Any, ClassVar

import bpy
from bpy.props import EnumProperty, FloatProperty, IntProperty, StringProperty

from . import material as materials
from .client import Service, ServiceError, request_normals

bl_info = {
    "name": "StableNormal",
    "author": "The stablenormal maintainers",
    "version": (0, 1, 0),
    "blender": (3, 6, 0),
    "location": "Shader Editor and 3D View > Sidebar > StableNormal",
    "description": "Normal maps of photographs, by the service of stablenormal",
    "category": "Material",
}

POLL_S = 0.2
"""Seconds between two looks at whether the answer has come."""


class Preferences(bpy.types.AddonPreferences):  # type: ignore[misc]
    """Where the service is."""

    bl_idname = __package__

    address: StringProperty(name="Service", default="http://127.0.0.1:8000")  # type: ignore[valid-type]
    token: StringProperty(name="Token", subtype="PASSWORD")  # type: ignore[valid-type]

    def draw(self, context: Any) -> None:
        """The two fields."""
        self.layout.prop(self, "address")
        self.layout.prop(self, "token")


class _Asking:
    """What both operators share: the options, and asking without a standstill."""

    mode: EnumProperty(  # type: ignore[valid-type]
        name="Mode",
        items=[("full", "Full", "Start and refinement"), ("turbo", "Turbo", "One step")],
    )
    seed: IntProperty(name="Seed", default=0, min=0)  # type: ignore[valid-type]
    strength: FloatProperty(name="Strength", default=1.0, min=0.0, max=10.0)  # type: ignore[valid-type]

    def ask(self, context: Any, material: Any) -> set[str]:
        """Send the photograph; the operator ends when the answer is there."""
        texture = materials.photograph_node(material)
        if texture is None:
            return self.fail("no photograph: give the material a Principled BSDF and an Image Texture")
        try:
            service = _service(context)
            photograph = materials.picture_bytes(texture.image)
        except (ServiceError, OSError, RuntimeError) as error:
            return self.fail(str(error))
        if not service.on_this_machine and not bpy.app.online_access:
            return self.fail("Blender may not use the network: Preferences > System > Allow Online Access")
        self._names = material.name, texture.name
        self._answer: bytes | None = None
        self._problem: str | None = None
        call = (photograph, service, self.mode, self.seed)
        if bpy.app.background:
            self._request(*call)
            return self._finish()
        self._thread = threading.Thread(target=self._request, args=call, daemon=True)
        self._thread.start()
        manager = context.window_manager
        self._timer = manager.event_timer_add(POLL_S, window=context.window)
        manager.modal_handler_add(self)
        context.workspace.status_text_set("StableNormal: waiting for the service; Esc gives up")
        return {"RUNNING_MODAL"}

    def modal(self, context: Any, event: Any) -> set[str]:
        """Blender calls this at every event."""
        if event.type == "ESC":
            self._end(context)
            return {"CANCELLED"}
        if event.type != "TIMER" or self._thread.is_alive():
            return {"PASS_THROUGH"}
        self._end(context)
        return self._finish()

    def fail(self, problem: str) -> set[str]:
        """Tell the user, and end."""
        self.report({"ERROR"}, problem)  # type: ignore[attr-defined]
        return {"CANCELLED"}

    def _request(self, photograph: bytes, service: Service, mode: str, seed: int) -> None:
        """In the thread: nothing of Blender is touched."""
        try:
            self._answer = request_normals(photograph, service, mode=mode, frame="opengl", seed=seed)
        except ServiceError as error:
            self._problem = str(error)

    def _finish(self) -> set[str]:
        if self._answer is None:
            return self.fail(self._problem or "the service did not answer")
        material_name, texture_name = self._names
        material = bpy.data.materials.get(material_name)  # the user may have worked on meanwhile
        texture = None if material is None else material.node_tree.nodes.get(texture_name)
        if texture is None or texture.image is None or materials.surface_node(material) is None:
            return self.fail(f"{material_name}: the material changed while the service worked; ask again")
        image = materials.normals_image(texture.image.name, self._answer)
        materials.connect_normals(material, texture, image, self.strength)
        self.report({"INFO"}, f"{image.name}: normals connected")  # type: ignore[attr-defined]
        return {"FINISHED"}

    def _end(self, context: Any) -> None:
        context.window_manager.event_timer_remove(self._timer)
        context.workspace.status_text_set(None)


class EstimateNormals(_Asking, bpy.types.Operator):  # type: ignore[misc]
    """Predict normals of the active material's photograph and connect them."""

    bl_idname = "material.stablenormal"
    bl_label = "Normals of the photograph"
    bl_options: ClassVar = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        """There must be a material."""
        return context.object is not None and context.object.active_material is not None

    def execute(self, context: Any) -> set[str]:
        """Start."""
        return self.ask(context, context.object.active_material)


class AddPhotograph(_Asking, bpy.types.Operator):  # type: ignore[misc]
    """Add a photograph as a plane that lamps light by its predicted normals."""

    bl_idname = "object.stablenormal_photograph"
    bl_label = "Photograph with normals"
    bl_options: ClassVar = {"REGISTER", "UNDO"}

    filepath: StringProperty(subtype="FILE_PATH")  # type: ignore[valid-type]

    def invoke(self, context: Any, event: Any) -> set[str]:
        """Let the user choose a file."""
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: Any) -> set[str]:
        """Add the plane, then start."""
        try:
            image = bpy.data.images.load(self.filepath)
        except RuntimeError as error:
            return self.fail(" ".join(str(error).split()))
        plane = materials.plane_of(image)
        plane.name = Path(self.filepath).stem
        return self.ask(context, plane.active_material)


class _Panel:
    bl_label = "StableNormal"
    bl_category = "StableNormal"
    bl_region_type = "UI"

    def draw(self, context: Any) -> None:
        """Two buttons, and the address."""
        self.layout.operator(EstimateNormals.bl_idname)  # type: ignore[attr-defined]
        self.layout.operator(AddPhotograph.bl_idname)  # type: ignore[attr-defined]
        preferences = _preferences(context)
        if preferences is not None:
            self.layout.prop(preferences, "address")  # type: ignore[attr-defined]


class ShaderPanel(_Panel, bpy.types.Panel):  # type: ignore[misc]
    """In the Shader Editor."""

    bl_idname = "NODE_PT_stablenormal"
    bl_space_type = "NODE_EDITOR"

    @classmethod
    def poll(cls, context: Any) -> bool:
        """Among shaders only."""
        return context.space_data.tree_type == "ShaderNodeTree"


class ViewPanel(_Panel, bpy.types.Panel):  # type: ignore[misc]
    """In the 3D view."""

    bl_idname = "VIEW3D_PT_stablenormal"
    bl_space_type = "VIEW_3D"


_CLASSES = (Preferences, EstimateNormals, AddPhotograph, ShaderPanel, ViewPanel)


def register() -> None:
    """Blender calls this when the add-on is switched on."""
    for one in _CLASSES:
        bpy.utils.register_class(one)


def unregister() -> None:
    """Blender calls this when the add-on is switched off."""
    for one in reversed(_CLASSES):
        bpy.utils.unregister_class(one)


def _preferences(context: Any) -> Any | None:
    entry = context.preferences.addons.get(__package__)
    return None if entry is None else entry.preferences


def _service(context: Any) -> Service:
    preferences = _preferences(context)
    return (
        Service() if preferences is None else Service(preferences.address.strip(), preferences.token.strip())
    )
