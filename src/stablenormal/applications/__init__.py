"""What normals are for: surfaces from one photograph."""
