"""`python -m cluster.bench`: see `main.py`."""

import sys

from cluster.bench.main import main

if __name__ == "__main__":
    sys.exit(main())
