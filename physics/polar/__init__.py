"""Excitons in a polar Laguerre basis: matrices, resonances, and states followed through a field."""
