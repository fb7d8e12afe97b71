"""``eopipe demo``: a true map of a real scene, offline, minutes after the installation.

The scenes come with packages of the extra ``eopipe[demo]``. A static STAC collection is made of each, and a
run spec; what follows is a run like any other.
"""
