"""`python -m hermes_oscron.helper`, as hermes-oscron-root@.service starts it."""

import sys

from .main import main

sys.exit(main())
