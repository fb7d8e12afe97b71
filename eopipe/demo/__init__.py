"""``eopipe demo``: a true map of a real scene, offline, minutes after the installation.

The scenes come with packages of the extra ``eopipe[demo]``. The demo writes a static STAC collection of
each and a run spec; what follows is an ordinary run.
"""
