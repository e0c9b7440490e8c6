"""`python -m callback_server`: one callback server process."""

import sys

from callback_server.app import run

if __name__ == "__main__":
    sys.exit(run())
