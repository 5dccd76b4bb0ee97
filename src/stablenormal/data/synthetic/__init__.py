"""Procedural scenes with exact normals: textures, shapes, furniture, scenes, cameras, lights and a rasteriser."""
