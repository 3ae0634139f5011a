"""The variables of a quantizable network: in training, and as they are deployed.

A network's variables are its "params" and, with a policy, its "clips": those of the sites by layer,
those of weights under "weights".
"""

from typing import Any

import jax

from .quantization import Policy, deploy, fake_quantize
from .sites import CLIPS

WEIGHTS = "weights"  # key of the weights' clips beside those of the sites


def quantize_variables(policy: Policy | None, variables: dict[str, Any]) -> dict[str, Any]:
    """A network's variables with weights as codes, differentiably; as they are without policy.

    Args:
        policy: the rules.
        variables: "params", and "clips" with those of weights under "weights".
    """
    if policy is None:
        return variables
    codes = fake_quantize(policy).codes(variables["params"], variables[CLIPS][WEIGHTS])
    return variables | {"params": codes}


def deploy_variables(policy: Policy | None, variables: dict[str, Any]) -> dict[str, Any]:
    """A network's variables for inference: weights as int8 codes, and the sites' clips."""
    if policy is None:
        return variables
    # Compiled as in training: one operation after the other, scales differ in their last bits.
    variables = deploy(jax.jit(quantize_variables, static_argnums=0)(policy, variables))
    return variables | {CLIPS: sites_of(variables)}


def sites_of(variables: dict[str, Any]) -> dict[str, Any]:
    """The clips of activations, without those of weights."""
    return {name: clips for name, clips in variables[CLIPS].items() if name != WEIGHTS}
