"""Applications of normals: depth and meshes, sharper coarse maps, surfaces from many photographs."""
