"""Installs, upgrades, repairs and removes hermes-oscron.

`install.sh` runs this package from the source with the machine's own Python, before anything is installed and also if
the installed environment is broken. So it imports only the standard library.
"""
