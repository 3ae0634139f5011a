"""An audit of a whole transducer: no product escapes its policy."""

import jax
import jax.numpy as jnp
import pytest

from gossamer.core.audit import audit, float_share, table
from gossamer.core.blocks import MATRIX, gates
from gossamer.core.compression import compression_report
from gossamer.core.quantization import Policy, deploy, fake_quantize
from gossamer.core.quantizers import fixed, max_abs, pact_plus, sawb_plus
from gossamer.speech.transducer import Transducer
from gossamer.speech.transducer_config import TransducerConfig

BATCH, TIME, FEATURES, LABELS, VOCABULARY = 2, 9, 3, 3, 9
CONFIG = TransducerConfig(
    encoder_layers=2,
    encoder_size=6,
    reduce_after=(1,),
    embedding_size=4,
    predictor_size=5,
    joiner_size=7,
)
POLICY = Policy(
    weights=(
        ("ctc_output/.*", None),  # for training only
        (".*/recurrent|(encoder_.|predictor)/kernel", sawb_plus(4, gates(4))),
        (".*/kernel", sawb_plus(4, MATRIX)),
        (".*/embedding", max_abs(4)),
    ),
    activations=(
        ("ctc_output/.*", None),
        (".*/hidden", fixed(4)),
        (".*/input", pact_plus(4)),
    ),
)
# Frames of both encoder layers, and states of the predictor.
FRAMES, PAIRS, STATES = BATCH * TIME, BATCH * 5, BATCH * (LABELS + 1)
MACS = {
    "encoder_1/kernel": 2 * FRAMES * FEATURES * 24,
    "encoder_1/recurrent": 2 * FRAMES * 6 * 24,
    "encoder_2/kernel": 2 * PAIRS * (2 * 12) * 24,
    "encoder_2/recurrent": 2 * PAIRS * 6 * 24,
    "encoder_projection/kernel": PAIRS * 12 * 7,
    "embedding/embedding": 0,
    "predictor/kernel": STATES * 4 * 20,
    "predictor/recurrent": STATES * 5 * 20,
    "predictor_projection/kernel": STATES * 5 * 7,
    "output/kernel": PAIRS * (LABELS + 1) * 7 * VOCABULARY,
    "ctc_output/kernel": PAIRS * 7 * VOCABULARY,
}


def model(policy):
    """A transducer, shapes of its variables in float, and its arguments."""
    transducer = Transducer(CONFIG, VOCABULARY, policy)
    arguments = (
        jnp.zeros((BATCH, TIME, FEATURES)),
        jnp.zeros((BATCH, TIME)),
        jnp.zeros((BATCH, LABELS), jnp.int32),
    )
    return transducer, jax.eval_shape(transducer.init, jax.random.key(0), *arguments), arguments


def quantized(variables, after=lambda codes: codes):
    transform = fake_quantize(POLICY)

    def codes(params):
        return after(transform.codes(params, transform.init(params)))

    return {**variables, "params": jax.eval_shape(codes, variables["params"])}


@pytest.mark.parametrize("after", [lambda codes: codes, deploy], ids=["training", "deployed"])
def test_every_product_of_a_transducer_has_four_bits(after):
    transducer, variables, arguments = model(POLICY)
    found = audit(
        transducer.apply,
        quantized(variables, after),
        *arguments,
        policy=POLICY,
        params=variables["params"],
    )
    assert {product.name: product.macs for product in found.products} == MACS
    bits = {
        product.name: (product.weight_bits, product.activation_bits) for product in found.products
    }
    assert bits.pop("ctc_output/kernel") == (32, 32)
    assert bits.pop("embedding/embedding") == (4, 0)
    assert set(bits.values()) == {(4, 4)}
    assert float_share(found) == MACS["ctc_output/kernel"] / sum(MACS.values())
    assert f"  {sum(MACS.values()):,}  " in table(found)


def test_parts_are_audited_alone():
    transducer, variables, (features, paddings, _) = model(POLICY)

    def encode(variables):
        return transducer.apply(variables, features, paddings, method="encode")

    def audit_encoder(allow_unused):
        return audit(
            encode,
            quantized(variables),
            policy=POLICY,
            params=variables["params"],
            allow_unused=allow_unused,
        )

    others = {name for name in MACS if not name.startswith("encoder")}
    assert {product.name for product in audit_encoder(others).products} == set(MACS) - others
    with pytest.raises(ValueError, match=r"output/kernel \(in no marked product\)\."):
        audit_encoder(others - {"output/kernel"})


def test_a_transducer_without_the_policy_raises():
    transducer, variables, arguments = model(None)
    with pytest.raises(ValueError, match=r"encoder_1/input.*encoder_1/hidden.*output/input"):
        audit(
            transducer.apply,
            quantized(variables),
            *arguments,
            policy=POLICY,
            params=variables["params"],
        )


def test_a_transducer_in_float_raises():
    transducer, variables, arguments = model(POLICY)
    with pytest.raises(ValueError, match=r"embedding.*, encoder_1/kernel \(float\)"):
        audit(transducer.apply, variables, *arguments, policy=POLICY, params=variables["params"])


def test_compression_of_a_transducer():
    _, variables, _ = model(POLICY)
    report = compression_report(quantized(variables, deploy)["params"])
    tensors = {tensor.path: tensor for tensor in report.tensors}
    assert tensors["encoder_2/kernel"].packed_bytes == 2 * (12 * 24 + 4 * 24)
    assert tensors["predictor/recurrent"].packed_bytes == 3 * 20 + 4 * 20  # 5 inputs in 3 bytes
    assert {path for path, tensor in tensors.items() if tensor.bits == 32} == {
        *(path for path in tensors if path.endswith("/bias")),
        "ctc_output/kernel",
    }
