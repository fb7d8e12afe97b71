"""Statistics stages: what a kernel must know of a wider area, measured before the first tile (DESIGN §5).

``lattice`` says where: blocks, the cells that are looked at, whose sums meet at a corner. ``planning`` says what: one
task a block and stage, each with the key of its inputs. ``task`` measures a block, ``sums`` is its file, ``store``
the folder, ``fields`` what a strip is told, ``cost`` what the plan says of it, ``driving`` the driver's part.
"""
