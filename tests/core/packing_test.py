import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from gossamer.core.compression import compression_report
from gossamer.core.packing import pack_tree, read, read_format, unpack_tree, write
from gossamer.core.quantized import Quantized
from gossamer.core.quantized_variables import deploy_variables
from gossamer.speech.language_model import LanguageModel
from gossamer.speech.language_model_config import PRESETS as LM_PRESETS
from gossamer.speech.policies import named_policy
from gossamer.speech.transducer import Transducer
from gossamer.speech.transducer_config import PRESETS

SHAPES = [(2, 5, 12), (1, 1), (3, 7), (2, 16, 8), (13, 2)]


def draw_codes(bits, shape, *, dtype=np.int8):
    """Codes of the whole range of two's complement, both of its ends included."""
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    generator = np.random.default_rng(bits)
    codes = generator.integers(low, high + 1, size=shape)
    codes.flat[0], codes.flat[-1] = low, high
    scale = generator.uniform(size=(*shape[:-2], 1, shape[-1])).astype(np.float32)
    return Quantized(jnp.asarray(codes, dtype), jnp.asarray(scale), bits, 2 ** (bits - 1))


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_codes_come_back_bit_for_bit(bits):
    layers = {f"layer_{i}": {"kernel": draw_codes(bits, s)} for i, s in enumerate(SHAPES)}
    tensors, table = pack_tree({"params": layers})
    chex.assert_trees_all_equal(unpack_tree(tensors, table), {"params": layers})
    for index, (*leading, inputs, outputs) in enumerate(SHAPES):
        name = f"params/layer_{index}/kernel"
        group = math.lcm(8, bits) // 8  # of whole bytes
        length = group * math.ceil(inputs * bits / 8 / group)
        assert tensors[f"{name}.codes"].shape == (*leading, length, outputs)
        assert tensors[f"{name}.codes"].dtype == np.uint8
        assert table[name] == {
            "bits": bits,
            "width": bits,
            "shape": list(SHAPES[index]),
            "max_abs_code": 2 ** (bits - 1),
        }


def test_codes_of_training_come_back_as_int8():
    codes = draw_codes(4, (3, 7), dtype=np.float32)
    found = unpack_tree(*pack_tree({"kernel": codes}))["kernel"]
    assert found.codes.dtype == jnp.int8
    np.testing.assert_array_equal(found.codes, codes.codes)


def test_numbers_are_halved():
    tree = {"params": {"output": {"bias": jnp.array([1.5, -1 / 3])}}}
    tensors, table = pack_tree(tree)
    assert not table
    assert tensors["params/output/bias"].dtype == np.float16
    found = unpack_tree(tensors, table)
    chex.assert_trees_all_equal_structs(found, tree)
    np.testing.assert_array_equal(found["params"]["output"]["bias"], [1.5, np.float16(-1 / 3)])
    assert found["params"]["output"]["bias"].dtype == jnp.float32


def test_numbers_beside_codes_keep_their_bits():
    tree = {
        "params": {"output": {"kernel": draw_codes(4, (3, 2)), "bias": jnp.array([1.5, -1 / 3])}},
        "clips": {"output": {"input": {"clip": jnp.float32(1 / 3)}}},
    }
    chex.assert_trees_all_equal(unpack_tree(*pack_tree(tree)), tree)


def test_an_asymmetric_range_takes_the_width_that_holds_it():
    codes = jnp.arange(15, dtype=jnp.int8).reshape(5, 3)  # 4 bits, all on one side of zero
    tree = {"kernel": Quantized(codes, jnp.float32(0.5), 4, 15)}
    tensors, table = pack_tree(tree)
    assert tensors["kernel.codes"].nbytes == codes.size
    assert (table["kernel"]["bits"], table["kernel"]["width"]) == (4, 8)
    chex.assert_trees_all_equal(unpack_tree(tensors, table), tree)


def test_codes_that_do_not_fit_are_refused():
    codes = jnp.array([[0.0, 255.0]])
    with pytest.raises(ValueError, match="`output/kernel` must have codes that fit 8 bits"):
        pack_tree({"output": {"kernel": Quantized(codes, jnp.float32(1), 8, 255)}})
    with pytest.raises(ValueError, match=r"whole numbers in \[-8, 7\] for 4 bits, got 9"):
        pack_tree({"kernel": Quantized(jnp.array([[0, 9]], jnp.int8), jnp.float32(1), 4, 7)})
    with pytest.raises(ValueError, match=r"whole numbers .*, got 0.5"):
        pack_tree({"kernel": Quantized(jnp.array([[0, 0.5]]), jnp.float32(1), 4, 7)})


def test_a_file_takes_half_a_byte_for_each_code(tmp_path):
    codes = draw_codes(4, (2, 240, 64))
    tensors, table = pack_tree({"params": {"encoder_1": {"kernel": codes}}})
    assert tensors["params/encoder_1/kernel.codes"].nbytes == 2 * 240 * 64 / 2
    path = tmp_path / "codes.safetensors"
    save_file(tensors, path)
    header = int.from_bytes(path.read_bytes()[:8], "little")
    assert path.stat().st_size == 8 + header + 2 * 240 * 64 / 2 + 2 * 64 * 4
    chex.assert_trees_all_equal(
        unpack_tree(load_file(path), table), {"params": {"encoder_1": {"kernel": codes}}}
    )


def test_recognizer_and_language_models_of_the_paper_shrink_as_in_the_paper():
    """7.6 times in arXiv:2206.07882; the auxiliary head is not used in recognition."""
    policy = named_policy("int4_paper")
    labels = jnp.zeros((1, 1), jnp.int32)

    def deploy(model, *inputs):
        variables = model.init(jax.random.key(0), *inputs)
        variables["params"].pop("ctc_output", None)
        clips = variables["clips"] | {"weights": {}}
        return deploy_variables(policy, {"params": variables["params"], "clips": clips})

    def deploy_all():
        frames = jnp.zeros((1, 2, 240)), jnp.zeros((1, 2))
        return {
            "recognizer": deploy(Transducer(PRESETS["paper"], 46, policy), *frames, labels),
            "source": deploy(LanguageModel(LM_PRESETS["source"], 46, policy), labels),
            "external": deploy(LanguageModel(LM_PRESETS["external"], 46, policy), labels),
        }

    report = compression_report(jax.eval_shape(deploy_all))
    assert report.ratio >= 7.6
    assert report.float_bytes > 4 * 110e6
    assert all(x.bits == 4 for x in report.tensors if x.path.endswith(("kernel", "recurrent")))


def test_a_file_tells_its_format(tmp_path):
    path = tmp_path / "codes.safetensors"
    assert read_format(path) is None
    write(path, {"kernel": draw_codes(4, (3, 2))}, {"format": "mine-1"})
    assert read_format(path) == "mine-1"
    path.write_text("no tensors")
    assert read_format(path) is None


def test_a_missing_file_is_one_line_with_what_makes_it(tmp_path):
    with pytest.raises(ValueError, match=r"missing: there is no such file; train it\.$"):
        read(tmp_path / "missing", ["mine-1"], "model", "train it", lambda *_: None)
