"""`stablenormal serve`: normals over HTTP."""
