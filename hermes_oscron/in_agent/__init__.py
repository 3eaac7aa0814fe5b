"""Code that runs in the Hermes agent's own Python. It and the rest of the package do not import each other."""
