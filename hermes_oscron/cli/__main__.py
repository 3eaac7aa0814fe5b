"""`python -m hermes_oscron.cli`."""

from . import main

main()
