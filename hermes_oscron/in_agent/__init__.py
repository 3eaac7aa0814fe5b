"""What runs inside the Hermes agent's own Python. It imports nothing of ours, and nothing of ours imports it."""
