"""The command line: each verb with its options beside what it does. It prints; nothing else does."""

from foundation.cli.commands import main

__all__ = ["main"]
