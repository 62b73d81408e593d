"""`python -m foundation VERB …`, the same as `foundation VERB …`."""

import sys

from foundation.cli import main

if __name__ == "__main__":
    sys.exit(main())
