import dataclasses
import json
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from gossamer.core.paths import named_leaves
from gossamer.core.quantized_variables import deploy_variables
from gossamer.speech import recognizer, streaming
from gossamer.speech.calibration import first_clips
from gossamer.speech.deployment import export, stablehlo
from gossamer.speech.policies import named_policy
from gossamer.speech.recognizer import Recognizer
from gossamer.speech.run_config import DataConfig, SpeechConfig
from gossamer.speech.text import Vocabulary
from gossamer.speech.transducer import Transducer
from gossamer.speech.transducer_config import TransducerConfig

CONFIG = SpeechConfig(
    data=DataConfig(buckets=((1.0, 2), (2.5, 1))),
    model=TransducerConfig(
        encoder_layers=1,
        encoder_size=8,
        reduce_after=(0,),
        embedding_size=4,
        predictor_size=8,
        joiner_size=8,
    ),
    seed=7,
)


@pytest.fixture(scope="module")
def model():
    vocabulary = Vocabulary.of(["ab c"])
    network = Transducer(CONFIG.model, vocabulary_size=len(vocabulary))
    inputs = jnp.zeros((1, 8, 240)), jnp.zeros((1, 8)), jnp.zeros((1, 2), jnp.int32)
    params = network.lazy_init(jax.random.key(0), *inputs)
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float16).astype(jnp.float32), params)
    # Untrained logits are nearly equal; larger ones make the random model emit some labels.
    params["params"]["output"]["kernel"] *= 8.0
    return Recognizer(CONFIG, vocabulary, params)


@pytest.fixture(scope="module")
def waveforms():
    generator = np.random.default_rng(0)
    return [
        generator.normal(scale=0.1, size=samples).astype(np.float32)
        for samples in (7000, 9000, 700, 30000)
    ]


def test_reading_together_equals_reading_alone(model, waveforms):
    together = recognizer.transcribe(model, waveforms)
    assert any(transcript.text for transcript in together)
    for waveform, transcript in zip(waveforms, together, strict=True):
        (alone,) = recognizer.transcribe(model, [waveform])
        assert alone.text == transcript.text
        assert [time for _, time in alone.labels] == [time for _, time in transcript.labels]
        # Batches of another shape may sum in another order.
        assert alone.score == pytest.approx(transcript.score, rel=1e-4)


def test_long_recordings_are_read_piece_by_piece(model, waveforms):
    (transcript,) = recognizer.transcribe(model, [waveforms[3]], max_seconds=1.0)
    times = [time for _, time in transcript.labels]
    assert times == sorted(times)
    assert max(times) < 30000 / 8000
    assert max(times) > 2.0


def test_a_beam_reads_together_as_alone_and_no_worse_than_greedy(model, waveforms):
    greedy = recognizer.transcribe(model, waveforms)
    together = recognizer.transcribe_nbest(model, waveforms, beam=4, nbest=3)
    for waveform, transcripts, path in zip(waveforms, together, greedy, strict=True):
        assert transcripts[0].score >= path.score - 1e-4
        scores = [transcript.score for transcript in transcripts]
        assert scores == sorted(scores, reverse=True)
        assert len({transcript.text for transcript in transcripts}) == len(transcripts)
        (alone,) = recognizer.transcribe(model, [waveform], beam=4)
        assert alone.text == transcripts[0].text
        assert alone.score == pytest.approx(transcripts[0].score, rel=1e-4)


def test_alternatives_of_a_long_recording_combine_those_of_its_pieces(model, waveforms):
    cut = {"max_seconds": 1.0, "beam": 4}
    (transcripts,) = recognizer.transcribe_nbest(model, [waveforms[3]], nbest=4, **cut)
    (best,) = recognizer.transcribe(model, [waveforms[3]], **cut)
    assert transcripts[0].text == best.text
    assert len({transcript.text for transcript in transcripts}) == len(transcripts) == 4
    for transcript in transcripts:
        times = [time for _, time in transcript.labels]
        assert times == sorted(times)


@pytest.mark.parametrize(("beam", "nbest"), [(0, 1), (4, 0), (4, 5), (1, 2)])
def test_refuses_lists_longer_than_the_beam(model, waveforms, beam, nbest):
    with pytest.raises(ValueError, match=r"`beam` must be positive|`nbest` must be between 1"):
        recognizer.transcribe_nbest(model, waveforms, beam=beam, nbest=nbest)


@pytest.mark.parametrize("samples", [0, 1, 100])
def test_hardly_any_sound_gives_no_text(model, samples):
    (transcript,) = recognizer.transcribe(model, [np.zeros(samples, np.float32)])
    assert transcript == ("", [], 0.0)
    (found,) = recognizer.transcribe(model, [np.zeros(samples, np.float32)], beam=2)
    assert found == ("", [], 0.0)


@pytest.fixture(scope="module")
def partner(model):
    """Another recognizer of the same letters, with a larger predictor."""
    config = dataclasses.replace(
        CONFIG, model=dataclasses.replace(CONFIG.model, predictor_size=12, joiner_size=10)
    )
    network = Transducer(config.model, vocabulary_size=len(model.vocabulary))
    inputs = jnp.zeros((1, 8, 240)), jnp.zeros((1, 8)), jnp.zeros((1, 2), jnp.int32)
    params = network.lazy_init(jax.random.key(1), *inputs)
    params["params"]["output"]["kernel"] *= 8.0
    return Recognizer(config, model.vocabulary, params)


@pytest.mark.parametrize("beam", [1, 4])
def test_recognizers_read_together(model, partner, waveforms, beam):
    alone, other, twice, both = (
        recognizer.transcribe(each, waveforms[:2], beam=beam)
        for each in (
            model,
            partner,
            recognizer.combine([model, model]),
            recognizer.combine([model, partner]),
        )
    )
    assert [heard.text for heard in twice] == [heard.text for heard in alone]
    for heard, expected in zip(twice, alone, strict=True):
        assert heard.score == pytest.approx(expected.score, rel=1e-4)
    assert both not in (alone, other)


def test_recognizers_that_do_not_fit_together_are_refused(model, partner, tmp_path):
    letters = partner._replace(vocabulary=Vocabulary.of(["abcd"]))
    with pytest.raises(ValueError, match="must have the same letters"):
        recognizer.combine([model, letters])
    both = recognizer.combine([model, partner])
    assert recognizer.combine([model, both]).partners == (model, partner)
    for refused in (
        lambda: recognizer.save(tmp_path / "both.safetensors", both),
        lambda: streaming.check(both),
        lambda: export.export(both, tmp_path / "exported"),
        lambda: stablehlo.export(both, tmp_path / "program"),
    ):
        with pytest.raises(ValueError, match="stream each one alone"):
            refused()
    assert not list(tmp_path.iterdir())


def test_packing_gives_the_model_back(model, waveforms, tmp_path):
    path = tmp_path / "model.safetensors"
    recognizer.save(path, model)
    read = recognizer.load(path)
    assert read.config == model.config
    assert read.vocabulary == model.vocabulary
    assert list(tmp_path.iterdir()) == [path]
    assert recognizer.transcribe(read, waveforms[:1])[0].text
    num_parameters = sum(leaf.size for leaf in jax.tree.leaves(model.params))
    assert path.stat().st_size < 2 * num_parameters + 5000


def test_refuses_what_is_not_a_packed_recognizer(model, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"not a model")
    with pytest.raises(ValueError, match=r"model.safetensors: not a packed recognizer"):
        recognizer.load(path)
    with pytest.raises(ValueError, match=r"absent.safetensors"):
        recognizer.load(tmp_path / "absent.safetensors")
    recognizer.save(path, model)
    tensors = load_file(path)
    save_file(tensors, path, metadata={"format": "gossamer-recognizer-0"})
    with pytest.raises(ValueError, match=r"gossamer-recognizer-0.*train speech` with its"):
        recognizer.load(path)


def test_the_header_is_plain_json(model, tmp_path):
    path = tmp_path / "model.safetensors"
    recognizer.save(path, model)
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert json.loads(header["__metadata__"]["config"])["seed"] == 7


def test_unknown_pretrained_name_lists_the_known():
    with pytest.raises(ValueError, match="`name` must be one of"):
        recognizer.pretrained("absent")
    with pytest.raises(ValueError, match="must be one of prompts, got 'hybrid'"):
        recognizer.pretrained("hybrid")


def first_clip(size, path, leaf):
    return jnp.full(leaf.shape, -size if "low" in str(path) else size)


@pytest.fixture(scope="module")
def quantized(model):
    """The same recognizer with 4-bit codes and clips that its values fill."""
    policy = named_policy("int4_paper")
    network = Transducer(CONFIG.model, vocabulary_size=len(model.vocabulary), policy=policy)
    inputs = np.zeros((1, 8, 240)), np.zeros((1, 8)), np.zeros((1, 2), np.int32)
    clips = jax.eval_shape(lambda: first_clips(network, model.params["params"], *inputs))
    features = clips.pop("encoder_1")
    clips = jax.tree.map_with_path(partial(first_clip, 0.2), clips)
    clips["encoder_1"] = jax.tree.map_with_path(partial(first_clip, 1.0), features)
    params = dict(model.params["params"])
    for name in ("encoder_projection", "predictor_projection"):
        # Else the joint vector would have no codes but zero.
        params[name] = {"kernel": 16 * params[name]["kernel"], "bias": params[name]["bias"]}
    variables = {"params": params, "clips": clips | {"weights": {}}}
    config = dataclasses.replace(CONFIG, quantize="int4_paper")
    return Recognizer(config, model.vocabulary, deploy_variables(policy, variables))


def test_packing_gives_the_quantized_model_back(quantized, waveforms, tmp_path):
    path = tmp_path / "model.safetensors"
    recognizer.save(path, quantized)
    read = recognizer.load(path)
    assert read.config == quantized.config
    assert read.model == quantized.model
    # Biases here are numbers of half precision, so that nothing at all is lost.
    chex.assert_trees_all_equal(read.params, quantized.params)
    expected = recognizer.transcribe(quantized, waveforms[:1])
    assert expected[0].text
    assert recognizer.transcribe(read, waveforms[:1]) == expected


def test_reads_files_of_the_first_format(model, waveforms, tmp_path):
    path = tmp_path / "model.safetensors"
    tensors = {name: np.asarray(leaf, np.float16) for name, leaf in named_leaves(model.params)}
    config = {
        "data": {"sample_rate": 8000},
        "model": dataclasses.asdict(CONFIG.model),
        "seed": 7,
    }
    header = {
        "format": "gossamer-recognizer-1",
        "config": json.dumps(config),
        "vocabulary": json.dumps(model.vocabulary.characters),
    }
    save_file(tensors, path, metadata=header)
    read = recognizer.load(path)
    assert read.config.model == CONFIG.model
    assert read.config.quantize is None
    chex.assert_trees_all_equal(read.params, model.params)
    assert read.model == model.model
    assert recognizer.transcribe(read, waveforms[:1]) == recognizer.transcribe(model, waveforms[:1])
