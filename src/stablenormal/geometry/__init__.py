"""Normals, cameras and depth: mathematics on tensors, no files and no networks."""
