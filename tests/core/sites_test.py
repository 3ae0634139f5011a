"""Sites: what a policy does to an activation within a layer."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gossamer.core.quantization import Policy
from gossamer.core.quantized import Quantized
from gossamer.core.quantizers import fixed, pact_plus
from gossamer.core.sites import CALIBRATION, CLIPS, quantize_site, site_name

X = jnp.linspace(-1.0, 3.0, 12).reshape(3, 4)


class Layer(nn.Module):
    policy: Policy | None

    @nn.compact
    def __call__(self, x):
        assert site_name(self, "input") == "layer/input"
        return quantize_site(self, self.policy, "input", x)


class Network(nn.Module):
    policy: Policy | None = None

    @nn.compact
    def __call__(self, x):
        return Layer(self.policy, name="layer")(x)


def policy(quantizer):
    return Policy(activations=(("layer/input", quantizer),))


def test_without_a_rule_activations_pass():
    for rules in (None, Policy(), Policy(activations=(("other/input", fixed(4)),))):
        assert Network(rules).apply({}, X) is X


def test_codes_pass_as_they_are():
    codes = fixed(4).codes({}, X)
    assert Network(policy(fixed(4, 2.0))).apply({}, codes) is codes


def test_a_quantizer_without_parameters():
    found = Network(policy(fixed(4, 2.0))).apply({}, X)
    assert isinstance(found, Quantized)
    np.testing.assert_array_equal(found.codes, fixed(4, 2.0).codes({}, X).codes)


def test_clips_are_variables_of_the_layer():
    quantizer = pact_plus(4)
    network = Network(policy(quantizer))
    variables = network.init(jax.random.key(0), X)
    clips = variables[CLIPS]["layer"]["input"]
    assert set(clips) == {"clip_low", "clip_high"}
    changed = jax.tree.map(lambda x: 2 * x, clips)
    found = network.apply({CLIPS: {"layer": {"input": changed}}}, X)
    np.testing.assert_array_equal(found.codes, quantizer.codes(changed, X).codes)


def test_calibration_leaves_activations_in_float_and_notes_clips():
    quantizer = pact_plus(4)
    network = Network(policy(quantizer))
    found, noted = network.apply(network.init(jax.random.key(0), X), 2 * X, mutable=[CALIBRATION])
    np.testing.assert_array_equal(found, 2 * X)
    assert noted[CALIBRATION]["layer"]["input"] == (quantizer.init(2 * X),)
