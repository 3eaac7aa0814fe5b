"""`python -m hermes_oscron.privileged`, as hermes-oscron-root.service starts it."""

import sys

from .server import main

sys.exit(main())
