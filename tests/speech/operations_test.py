"""The operations of a recognizer against counts by hand."""

import itertools
import math
from dataclasses import replace

import pytest

from gossamer.core.accelerator import PRESETS, Operation, latency, real_time_factor
from gossamer.speech import language_model_config, transducer_config
from gossamer.speech.language_model import LanguageModel
from gossamer.speech.language_model_config import LanguageModelConfig
from gossamer.speech.operations import (
    Scenario,
    encoder_stages,
    extensions,
    search_parts,
    search_stage,
)
from gossamer.speech.policies import named_policy
from gossamer.speech.transducer import Transducer
from gossamer.speech.transducer_config import TransducerConfig

CONFIG = TransducerConfig(
    encoder_layers=2, encoder_size=6, embedding_size=4, predictor_size=5, joiner_size=7
)
POLICY, LABELS, FRAMES = named_policy("int4_paper"), 9, 20
INT4 = {"weight_bits": 4, "input_bits": 4}
SCENARIO = Scenario(
    seconds=2.0,
    num_features=3,
    frames_per_second=10.0,
    labels_per_second=5.0,
    beam=4,
    growing=0.25,
)
CLOSE = pytest.approx


def external(policy=POLICY, labels=LABELS):
    return LanguageModel(LanguageModelConfig(size=8, embedding_size=2), labels, policy)


def test_an_encoder_by_hand():
    """Two layers of 2 x 6 cells over 20 frames: 2 x 24 gates."""
    stages = encoder_stages(Transducer(CONFIG, LABELS, POLICY), SCENARIO)
    outputs = 2 * FRAMES * 24
    recurrent = {
        "macs": outputs * 6,
        "weights": 2 * 6 * 24,
        "inputs": 2 * FRAMES * 6,
        # What comes in of the input product, and both states, read and written.
        "results": 2 * outputs,
        "runs": FRAMES,
        # One to add, eight a cell of four gates, three to quantize a hidden state.
        "elementwise": 3 * outputs + 3 * 2 * FRAMES * 6,
    }
    expected = []
    for layer, inputs in ((1, 3), (2, 12)):
        kernel = {
            "macs": outputs * inputs,
            "weights": 2 * inputs * 24,
            "inputs": 2 * FRAMES * inputs,
            "results": outputs,
            "elementwise": outputs + 3 * 2 * FRAMES * inputs,
        }
        expected.append(Operation(f"encoder_{layer}/kernel", **kernel, **INT4))
        expected.append(Operation(f"encoder_{layer}/recurrent", **recurrent, **INT4))
    projection = {
        "macs": FRAMES * 12 * 7,
        "weights": 12 * 7,
        "inputs": FRAMES * 12,
        "results": FRAMES * 7,
        "elementwise": FRAMES * 7 + 3 * FRAMES * 12,
    }
    expected.append(Operation("encoder_projection/kernel", **projection, **INT4))
    assert [operation for stage in stages for operation in stage.operations] == expected
    assert [stage.name for stage in stages] == [operation.name for operation in expected]


def test_a_search_by_hand():
    parts = search_parts(Transducer(CONFIG, LABELS, POLICY), {"external": external()})
    stage = search_stage(parts, SCENARIO)
    found = {operation.name: operation for operation in stage.operations}
    steps, rows = 2 * (10 + 5), 4 * 0.25  # of those that grow, in a step
    runs = 1 - 0.75**4
    assert found["output/kernel"] == Operation(
        "output/kernel",
        macs=steps * 4 * 7 * 9,
        weights=7 * 9,
        inputs=steps * 4 * 7,
        results=steps * 4 * 9,
        runs=steps,
        elementwise=steps * 4 * (9 + 3 * 7),
        **INT4,
    )
    assert found["merge"] == Operation("merge", runs=steps, elementwise=steps * 4 * 2 * 7)
    assert found["log_softmax"].elementwise == steps * 4 * 3 * 9
    for name, inputs, outputs in (
        ("predictor/kernel", 4, 20),
        ("predictor/recurrent", 5, 20),
        ("predictor_projection/kernel", 5, 7),
        ("external/layer_1/kernel", 2, 32),
        ("external/layer_1/recurrent", 8, 32),
        ("external/output/kernel", 8, 9),
    ):
        assert found[name].macs == CLOSE(steps * rows * inputs * outputs)
        assert found[name].runs == CLOSE(steps * runs)
        assert found[name].weights == inputs * outputs
        assert (found[name].weight_bits, found[name].input_bits) == (4, 4)
    assert found["external/score"].elementwise == CLOSE(steps * rows * 4 * 9)
    assert found["bookkeeping"].scalar == steps * (3 * 4 * 9 + 4 * 16 + 32 * 4)
    assert list(found) == [
        *("merge", "output/kernel", "log_softmax"),
        *("predictor/kernel", "predictor/recurrent", "predictor_projection/kernel"),
        *("external/layer_1/kernel", "external/layer_1/recurrent", "external/output/kernel"),
        *("external/score", "bookkeeping"),
    ]
    alone = search_stage(search_parts(Transducer(CONFIG, LABELS, POLICY)), SCENARIO)
    assert [found for found in stage.operations if "external" not in found.name] == list(
        alone.operations
    )


def test_bits_are_those_of_the_policy():
    for name, bits in ((None, 32), ("int8", 8), ("int2", 2)):
        model = Transducer(CONFIG, LABELS, named_policy(name))
        stages = [*encoder_stages(model, SCENARIO), search_stage(search_parts(model), SCENARIO)]
        products = [found for stage in stages for found in stage.operations if found.macs]
        assert {(found.weight_bits, found.input_bits) for found in products} == {(bits, bits)}


def test_frames_that_the_encoder_joins_make_fewer_steps():
    config = replace(CONFIG, reduce_after=(0,))
    parts = search_parts(Transducer(config, LABELS))
    stage = search_stage(parts, SCENARIO)
    assert stage.operations[-1].runs == 2 * (10 / 2 + 5)
    first, *_ = encoder_stages(Transducer(config, LABELS), SCENARIO)
    assert first.operations[0].macs == 2 * (FRAMES / 2) * 6 * 24


@pytest.mark.parametrize("beam", [1, 2, 5])
@pytest.mark.parametrize("growing", [0.2, 1.0])
@pytest.mark.parametrize("block", [0.0, 0.5, 1.0])
def test_extensions_against_all_outcomes(beam, growing, block):
    rows = math.ceil(block * beam)
    runs = lines = 0.0
    for outcome in itertools.product((True, False), repeat=beam):
        chance = math.prod(growing if grows else 1 - growing for grows in outcome)
        number = -(-sum(outcome) // rows) if rows else min(sum(outcome), 1)
        runs += chance * number
        lines += chance * (number * rows if rows else sum(outcome))
    found = extensions(replace(SCENARIO, beam=beam, growing=growing, block=block))
    assert found.runs == CLOSE(runs)
    assert found.rows == CLOSE(lines / runs)


def paper(name):
    policy = named_policy(name)
    models = {
        name: LanguageModel(language_model_config.PRESETS[name], 46, policy)
        for name in ("external", "source")
    }
    model = Transducer(transducer_config.PRESETS["paper"], 46, policy)
    return model, search_parts(model), search_parts(model, models)


def test_the_paper_s_sizes_on_the_published_chip():
    """Widths are the only difference, and fusion makes the search a matter of memory."""
    scenario, machine = Scenario(seconds=1.0), PRESETS["rapid"]
    totals = {}
    for name in (None, "int4_paper"):
        model, plain, fused = paper(name)
        encoder = encoder_stages(model, scenario)
        # 50 frames: 2 x 2560 gates of six layers with 640 states, 240 or 1280 inputs; 256 outputs.
        gates = 50 * 2 * 2560
        assert sum(operation.macs for stage in encoder for operation in stage.operations) == (
            gates * (6 * 640 + 240 + 5 * 1280) + 50 * 1280 * 256
        )
        beams = [1, 4, 16, 64]
        factors = []
        for parts in (plain, fused):
            searches = [search_stage(parts, replace(scenario, beam=beam)) for beam in beams]
            factors.append([real_time_factor(machine, [search], 1.0) for search in searches])
            assert factors[-1] == sorted(factors[-1])
        assert all(both > one for one, both in zip(*factors, strict=True))
        found = latency(machine, [search_stage(fused, scenario)])
        assert found.memory_bound > 0.8 * found.total
        totals[name] = found.total
    assert 1 < totals[None] / totals["int4_paper"] < 4  # as bytes, less what stays


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"seconds": 0.0}, "`seconds` must be positive, got 0.0"),
        ({"frames_per_second": math.nan}, "`frames_per_second` must be positive, got nan"),
        ({"num_features": 0}, "`num_features` must be positive, got 0"),
        ({"beam": 0}, "`beam` must be positive, got 0"),
        ({"labels_per_second": -1.0}, "`labels_per_second` must be at least 0, got -1.0"),
        ({"growing": 0.0}, "`growing` must be above 0 and at most 1, got 0.0"),
        ({"block": 1.5}, "`block` must be from 0 to 1, got 1.5"),
    ],
)
def test_impossible_scenarios_are_refused(changes, match):
    with pytest.raises(ValueError, match=match):
        replace(SCENARIO, **changes)


def test_what_does_not_fit_is_refused():
    model = Transducer(CONFIG, LABELS)
    with pytest.raises(ValueError, match=r"`seconds` must be at least .* of a frame, got 0\.01"):
        encoder_stages(model, replace(SCENARIO, seconds=0.01))
    with pytest.raises(ValueError, match="must have the 9 labels of the transducer, but other has"):
        search_parts(model, {"other": external(None, labels=10)})
