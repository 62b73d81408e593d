"""The command line: one function a verb, its options beside it. It prints; nothing else does."""

from foundation.cli.commands import main

__all__ = ["main"]
