"""The kernel that runs DynamicEarth's stages on the lattice."""
