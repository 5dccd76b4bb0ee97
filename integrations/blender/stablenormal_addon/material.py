"""A material's photograph, and the nodes that its normal map needs."""

import tempfile
from pathlib import Path
from typing import Any

import bpy

NORMALS_LABEL = "Normals (StableNormal)"
"""Label of the nodes that are made, by which they are found again."""
_SPACING = 320.0
"""Between columns of nodes."""


def surface_node(material: Any) -> Any | None:
    """The Principled BSDF of a material, the one that reaches its output if there are several."""
    if material is None or not material.use_nodes:
        return None
    nodes = [node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED"]
    return next((node for node in nodes if node.outputs["BSDF"].is_linked), nodes[0] if nodes else None)


def photograph_node(material: Any) -> Any | None:
    """The texture node with the photograph: what leads to Base Color, else the active or the only one."""
    surface = surface_node(material)
    if surface is None:
        return None
    waiting, seen = [surface.inputs["Base Color"]], set()
    while waiting:
        for link in waiting.pop().links:
            node = link.from_node
            if node.type == "TEX_IMAGE" and node.image is not None:
                return node
            if node.name not in seen:
                seen.add(node.name)
                waiting.extend(node.inputs)
    textures = [
        node
        for node in material.node_tree.nodes
        if node.type == "TEX_IMAGE" and node.image is not None and node.label != NORMALS_LABEL
    ]
    active = material.node_tree.nodes.active
    if active is not None and any(node == active for node in textures):
        return active
    return textures[0] if len(textures) == 1 else None


def picture_bytes(image: Any) -> bytes:
    """The file of a picture as it is; a PNG of what was painted or made in Blender."""
    if not image.is_dirty and image.source == "FILE":
        if image.packed_file is not None:
            return bytes(image.packed_file.data)
        path = Path(bpy.path.abspath(image.filepath, library=image.library))
        if path.is_file():
            return path.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        copy = image.copy()
        try:
            copy.filepath_raw, copy.file_format = str(Path(folder) / "picture.png"), "PNG"
            copy.save()
            return (Path(folder) / "picture.png").read_bytes()
        finally:
            bpy.data.images.remove(copy)


def normals_image(name: str, png: bytes) -> Any:
    """A 16-bit normal map as a packed picture without colour management."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{Path(name).stem[:100]}_normal.png"
        path.write_bytes(png)
        image = bpy.data.images.load(str(path))
        image.colorspace_settings.name = "Non-Color"
        image.pack()
    return image


def connect_normals(material: Any, texture: Any, image: Any, strength: float) -> Any:
    """Put a normal map between its texture and the surface's Normal; nodes of an earlier call are used again.

    Args:
        material: with a Principled BSDF.
        texture: the photograph's node, whose coordinates the normals get.
        image: from `normals_image`.
        strength: of the Normal Map node; 1 is as predicted.

    Returns:
        The Normal Map node.
    """
    tree = material.node_tree
    surface = surface_node(material)
    picture = _own(tree, "ShaderNodeTexImage", texture.location.x, texture.location.y - _SPACING)
    picture.image, picture.interpolation, picture.extension = image, "Linear", texture.extension
    turned = _own(tree, "ShaderNodeNormalMap", texture.location.x + _SPACING, texture.location.y - _SPACING)
    turned.space = "TANGENT"
    turned.inputs["Strength"].default_value = strength
    for link in texture.inputs["Vector"].links:
        tree.links.new(link.from_socket, picture.inputs["Vector"])
    tree.links.new(picture.outputs["Color"], turned.inputs["Color"])
    tree.links.new(turned.outputs["Normal"], surface.inputs["Normal"])
    return turned


def plane_of(image: Any) -> Any:
    """A plane of a picture's shape, one metre high, that faces the front view, with a material."""
    width, height = image.size
    half = width / max(height, 1) / 2
    mesh = bpy.data.meshes.new(image.name)
    corners = [(-half, 0, 0), (half, 0, 0), (half, 0, 1), (-half, 0, 1)]
    mesh.from_pydata(corners, [], [(0, 1, 2, 3)])
    coordinates = mesh.uv_layers.new(name="UVMap").data
    for entry, place in zip(coordinates, [(0, 0), (1, 0), (1, 1), (0, 1)], strict=True):
        entry.uv = place
    material = bpy.data.materials.new(image.name)
    material.use_nodes = True
    surface = surface_node(material)
    surface.inputs["Roughness"].default_value = 0.8
    texture = material.node_tree.nodes.new("ShaderNodeTexImage")
    texture.image, texture.location = image, (surface.location.x - 3 * _SPACING, surface.location.y)
    material.node_tree.links.new(texture.outputs["Color"], surface.inputs["Base Color"])
    mesh.materials.append(material)
    plane = bpy.data.objects.new(image.name, mesh)
    bpy.context.collection.objects.link(plane)
    return plane


def _own(tree: Any, kind: str, x: float, y: float) -> Any:
    """The node of that kind that an earlier call made, or a new one."""
    for node in tree.nodes:
        if node.bl_idname == kind and node.label == NORMALS_LABEL:
            return node
    node = tree.nodes.new(kind)
    node.label, node.location = NORMALS_LABEL, (x, y)
    return node
