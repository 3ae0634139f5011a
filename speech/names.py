"""Names that configurations and the command line offer; without JAX, for quick help."""

from typing import Literal

PolicyName = Literal["int4_paper", "int4_max", "int4_weights", "int8", "int3", "int2"]  # `policies`
Ramp = Literal["constant", "linear", "exponential", "inverse_sigmoid"]  # `label_noise`
