"""Examples of a page, run as they stand and held against the outputs that it shows."""

import doctest
import re
import shlex

from foundation.cli import main

SAME = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def run_python(block: str, names: dict[str, object]) -> int:
    """The examples of a block that do not give what is shown, told on standard output."""
    test = doctest.DocTest(doctest.DocTestParser().get_examples(block), {}, "recipes.md", None, None, block)
    test.globs = names  # it has made a copy
    return doctest.DocTestRunner(optionflags=SAME, verbose=False).run(test, clear_globs=False).failed


def run_shell(block: str, capsys) -> int:
    """The commands of a block that fail or do not print what is shown, told on standard output."""
    wrong = []
    for command, wanted in re.findall(r"^\$ foundation ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", block, re.M):
        capsys.readouterr()
        status = main(shlex.split(command.replace("\\\n", "")))
        got = capsys.readouterr().out
        if status > 1 or not doctest.OutputChecker().check_output(wanted, got, SAME):
            wrong.append(f"{command}\n{got}")
    print(*wrong, sep="\n")
    return len(wrong)
