"""Procedural scenes with exact normals: their objects, lights and cameras, and how they are rendered."""
