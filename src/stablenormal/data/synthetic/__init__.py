"""Procedural scenes with exact normals: what there is, where the camera is, how it is drawn."""
