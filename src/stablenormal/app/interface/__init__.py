"""The page of `stablenormal app`: photographs in, normals to look at, to light and to take away."""
