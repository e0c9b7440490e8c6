"""`python -m ops.cli` is the command `payouts`."""

import sys

from ops.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
