"""The command line: thin. Each command resolves its arguments, calls the engine and prints."""

from eopipe.cli.main import main

__all__ = ["main"]
