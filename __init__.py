"""gossamer: light models and light training in JAX.

4-bit networks, gossip instead of global averages, sparse gradients instead of dense ones, and the
atomically thin crystals whose physics gave the same group its other papers.  Import what you need
by file, for instance ``from gossamer.core import gossip``.
"""

__version__ = "0.1.0"
