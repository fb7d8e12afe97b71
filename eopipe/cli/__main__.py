"""``python -m eopipe.cli``."""

from eopipe.cli import main

main()
