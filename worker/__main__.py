"""`python -m worker`: one worker process."""

import sys

from worker.app import run

if __name__ == "__main__":
    sys.exit(run())
