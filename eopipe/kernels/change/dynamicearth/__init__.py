"""The kernel that runs the stages on pictures of the lattice, in DynamicEarth's two orders (arXiv 2501.12931)."""
