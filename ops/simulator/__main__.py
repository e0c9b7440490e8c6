"""`python -m ops.simulator` runs the gateway until it is told to stop."""

import sys

from ops.simulator.app import run

if __name__ == "__main__":
    sys.exit(run())
