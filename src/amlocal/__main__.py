"""``python -m amlocal``."""

import sys

from amlocal.cli.main import main

sys.exit(main())
