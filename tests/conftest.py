"""Strict numerics for every test, eight CPU devices, and the fixtures that several packages share.

Compiling takes most of the time of these tests.  So machine code is left as it comes, which takes
half the time, where a test does not ask for `optimized_code`; and compiled programs are kept in a
cache folder, also for the processes that tests start.
"""

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile

os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".jax_cache"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # which SciPy reads when it is loaded
if jax.__version_info__ < (0, 11):  # whose old emitter of fused loops takes half the time
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_use_fusion_emitters=false"

# A deadline per example would time the machine, compilation included.
hypothesis.settings.register_profile("gossamer", deadline=None)
hypothesis.settings.load_profile("gossamer")

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture
def key() -> jax.Array:
    """The fixed random key of a test."""
    return jax.random.key(0)


@pytest.fixture
def free_address() -> Callable[[], str]:
    """Gives an address of this machine at which nobody listens."""

    def find() -> str:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return f"127.0.0.1:{probe.getsockname()[1]}"

    return find


@pytest.fixture
def float64():
    """Double precision while the test runs."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def optimized_code():
    """Machine code as users have it: for tests of last bits, and of how much memory is used."""
    jax.clear_caches()
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)
    jax.clear_caches()


@pytest.fixture
def ldc(tmp_path) -> Path:
    """Discs of the LDC with a few seconds of noise each, and transcripts in their forms."""
    root = tmp_path / "ldc"
    generator = np.random.default_rng(0)

    def record(path: str, seconds: float = 12.0) -> None:
        sound = generator.normal(scale=0.1, size=(round(8000 * seconds), 2))
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / path, sound, 8000, format="NIST", subtype="ULAW")

    def transcribe(path: str, *lines: str) -> None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("".join(f"{line}\n" for line in lines))

    # By the hashes of their names, 2036 is for dev, and 2033 for test unless that is Hub5'00.
    for number in (2001, 2033, 2036):
        record(f"LDC97S62/swb1_d1/data/sw0{number}.sph")
        folder = f"swb_ms98_transcriptions/{number // 100}/{number}"
        for side in "AB":
            name = f"sw{number}{side}-ms98-a"
            transcribe(
                f"{folder}/sw{number}{side}-ms98-a-trans.text",
                f"{name}-0001 0.000000 0.977625 [silence]",
                f"{name}-0002 0.977625 2.461375 hi um [laughter-yeah] th[ey]- they_1 [noise]",
                f"{name}-0003 2.461375 5.250000 <b_aside> saw the IBM <e_aside> uh-huh",
                f"{name}-0004 11.50000 12.25000 {{yuppiedom}}",
            )
    transcribe("swb_ms98_transcriptions/sw-ms98-dict.text", "IBM ay b iy eh m", "hi hh ay")
    transcribe(
        "swb_ms98_transcriptions/29/2999/sw2999A-ms98-a-trans.text",
        "sw2999A-ms98-a-0001 0.000000 2.000000 not on the discs",
    )
    record("LDC2004S13/audio/000/fe_03_00001.sph")
    transcribe(
        "LDC2004T19/data/trans/000/fe_03_00001.txt",
        "# fe_03_00001.sph",
        "",
        "1.00 3.50 A: ((i think)) it's a- [laughter] t._v.",
        "4.00 4.50 B: [noise]",
        "5.00 7.00 B: mhm",
    )
    for name in ("sw_4390", "en_4156"):
        record(f"LDC2002S09/hub5e_00/english/{name}.sph")
    transcribe(
        "LDC2002T43/reference/hub5e00.english.000405.stm",
        ';; LABEL "O" "Overall" "Overall"',
        ';; LABEL "en" "Callhome" "Callhome"',
        ';; LABEL "sw" "Swbd" "Swbd"',
        "en_4156 A en_4156_A 1.00 2.50 <O,en> OH ((UM) YEAH THE AIRCRAFT",
        "en_4156 B en_4156_B 2.50 4.00 <O,en> IGNORE_TIME_SEGMENT_IN_SCORING",
        "en_4156 B en_4156_B 4.00 6.00 <O,en> I'M GONNA (TH-) GO { 'CAUSE / @ } HOME",
        "sw_4390 A sw_4390_A 0.50 2.50 <O,sw> A T. SHIRT { AND / IN } UH-HUH",
    )
    transcribe(
        "LDC2002T43/reference/en20000405_hub5.glm",
        ";; Made up in the form of NIST's rules.",
        "* name 'test.glm'",
        "UH-HUH => %BCACK / [ ] __ [ ] ;; affirmative token",
        "UM => %HESITATION / [ ] __ [ ]",
        "GONNA => GOING TO ;; anywhere",
        "AIRCRAFT => AIR CRAFT / [ ] __ [ ]",
    )
    return root


@pytest.fixture
def fake_espeak(tmp_path, monkeypatch) -> None:
    """A synthesizer with two voices, tones of 400 and 800 Hz, a sixteenth of a second a letter.

    It refuses texts with "fail", and is silent for those with "silent".
    """
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/espeak-ng"
    source = Path(__file__).with_name("fake_espeak.py").read_text()
    program.write_text(f"#!{sys.executable} -S\n{source}")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


@pytest.fixture(scope="session")
def make_recognizer() -> Callable[..., Any]:
    """``(quantize, normalization, **sizes) -> Recognizer``: random, tiny, emits some labels."""
    from gossamer.core.quantized_variables import deploy_variables
    from gossamer.speech import experiment
    from gossamer.speech.recognizer import Recognizer
    from gossamer.speech.run_config import DataConfig, SpeechConfig
    from gossamer.speech.text import Vocabulary
    from gossamer.speech.transducer_config import TransducerConfig

    sizes = {
        "encoder_layers": 2,
        "encoder_size": 12,
        "reduce_after": (0,),
        "embedding_size": 4,
        "predictor_size": 8,
        "joiner_size": 8,
    }
    clips = {"clip_low": -2.0, "clip_high": 2.5, "clip": 0.8}

    def make(quantize=None, normalization: Any = "recording", blank_bias=2.0, **changes):
        config = SpeechConfig(
            data=DataConfig(normalization=normalization),
            model=TransducerConfig(**(sizes | changes)),
            quantize=quantize,
        )
        made = Recognizer(config, Vocabulary.of(["abc de"]), None)
        variables = experiment.initial_parameters(made.model, seed=1)
        generator = np.random.default_rng(0)
        for name, params in variables["params"].items():
            if name.startswith("lookahead"):
                shape = params["weights"].shape
                params["weights"] = jnp.asarray(0.5 * generator.normal(size=shape), jnp.float32)
        # Untrained logits are nearly equal; these emit a few labels.
        for layer in ("encoder_projection", "predictor_projection", "output"):
            variables["params"][layer]["kernel"] *= 5.0
        bias = variables["params"]["output"]["bias"]
        variables["params"]["output"]["bias"] = bias.at[0].add(blank_bias)
        if quantize is not None:

            def choose(path, clip):
                return jnp.full_like(clip, clips[path[-1].key])

            variables["clips"] = jax.tree_util.tree_map_with_path(choose, variables["clips"])
        return made._replace(params=deploy_variables(made.model.policy, variables))

    return make


@pytest.fixture(scope="session")
def exciton_study() -> Any:
    """WSe2 in hBN at three fields, in a small basis."""
    from gossamer.physics.exciton_study import run_study
    from gossamer.physics.materials import find
    from gossamer.physics.polar.hamiltonian import Basis

    with jax.enable_x64(True):
        return run_study(find("WSe2/hBN"), np.array([0.0, 1.0, 2.0]), basis=Basis(20, 6, decay=1.0))


@pytest.fixture(scope="session")
def spin_parts() -> dict[str, Any]:
    """Parts of a study of one and two layers, made up."""
    temperatures = [300.0, 320.0, 340.0]

    def curie(layers, law, value):
        curve = [[0.63, 0.6, 0.55], [0.65, 0.6, 0.5]]
        errors = [[0.01] * 3] * 2
        return {
            "layers": layers,
            "law": law,
            "anisotropy": 3.6 / (layers if law == "surface" else 1),
            "temperature": value,
            "error": 2.0,
            "binder_at_crossing": 0.6,
            "temperatures": temperatures,
            "sizes": [12, 24],
            "estimates": {"mean field": 900.0, "random phase": 500.0},
            "binder": curve,
            "binder_error": errors,
            "magnetization": curve,
            "magnetization_error": errors,
            "notes": ["a <note>"],
        }

    names = ("magnetization", "energy", "specific_heat", "susceptibility", "binder", "helicity")
    order: dict[str, Any] = {"temperatures": temperatures, "anisotropy": 3.6}
    for name in names:
        order |= {name: [0.9, 0.5, 0.1], f"{name}_error": [0.01, 0.02, 0.01]}
    loop = {
        "layers": 1,
        "temperature": 300.0,
        "rate": 0.01,
        "field": [1.0, 0.0, -1.0, 0.0, 1.0],
        "magnetization": [1.0, 0.9, -1.0, -0.9, 1.0],
        "dichroism": [1.0, 0.9, -1.0, -0.9, 1.0],
        "coercivity": 0.4,
        "error": None,
        "remanence": 0.9,
    }
    spins = np.zeros((3, 4, 4)).tolist()
    texture = {"pictures": [{"temperature": 90.0, "spins": spins}] * 3, "constant": 0.33}
    return {
        "curie-constant-1": curie(1, "constant", 320.0),
        "curie-constant-2": curie(2, "constant", 350.0),
        "curie-surface-2": curie(2, "surface", 310.0),
        "order-axis": order,
        "order-plane": order,
        "loop-layers-1": loop,
        "loop-layers-2": loop | {"layers": 2, "coercivity": None},
        "loop-temperature-0.5": loop | {"temperature": 150.0},
        "loop-rate-4": loop | {"rate": 0.04},
        "texture-axis": texture,
        "texture-plane": texture,
    }


@pytest.fixture(scope="session")
def phrases(tmp_path_factory):
    """A small classifier of made-up phrases with its corpus; training it is a test of its own."""
    from gossamer.language import classifier, data, training
    from gossamer.language.encoder_config import EncoderConfig
    from gossamer.language.run_config import LanguageRun

    folder = tmp_path_factory.mktemp("phrases")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOSSAMER_CACHE", str(folder / "cache"))
        config = LanguageRun(
            corpus="phrases",
            model=EncoderConfig(layers=1, size=16, heads=2, hidden=16, dropout=0.0),
            max_length=16,
            steps=120,
            peak_learning_rate=1e-2,
            variants=2,
            variant_spacing=3,
            checkpoint_every=120,
            run=folder / "run",
        )
        result = training.train(config)
        corpus = data.load_corpus("phrases")
    return {
        "config": config,
        "result": result,
        "model": classifier.load(folder / "run"),
        "corpus": corpus,
    }


@pytest.fixture(scope="session")
def translation_run(tmp_path_factory) -> dict[str, Any]:
    """A short run of a tiny translator of numbers by two learners: its config, folder and score."""
    from gossamer.core.learners_config import LearnersConfig
    from gossamer.language.translation import experiment, grammar
    from gossamer.language.translation.run_config import (
        DataConfig,
        NetworkConfig,
        OptimizerConfig,
        TranslationConfig,
    )

    folder = tmp_path_factory.mktemp("translation")
    splits = {0: "dev", 1: "test"}
    lines = [
        "\t".join([*grammar.say_number(number), splits.get(number % 10, "train")])
        for number in range(1, 100)
    ]
    (folder / "numbers.tsv").write_text("\n".join(["source\ttarget\tsplit", *lines]) + "\n")
    config = TranslationConfig(
        data=DataConfig(
            str(folder / "numbers.tsv"), vocabulary=60, max_length=16, batch_tokens=512, buckets=1
        ),
        network=NetworkConfig("tiny"),
        optimizer=OptimizerConfig(steps=30, learning_rate=0.01, warmup=10),
        learners=LearnersConfig(number=2),
        beam=2,
        log_every=1,
        validate_every=15,
        checkpoint_every=5,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOSSAMER_CACHE", str(folder / "cache"))
        score = experiment.train(config, folder / "run", show_progress=False)
    return {"config": config, "folder": folder / "run", "score": score}
