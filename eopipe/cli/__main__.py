"""``python -m eopipe.cli``."""

from eopipe.cli.main import main

main()
