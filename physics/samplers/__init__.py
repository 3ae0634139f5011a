"""Samplers and dynamics of spins, all of them `init` and `step` with a state."""
