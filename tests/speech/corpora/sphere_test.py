import numpy as np
import pytest
import soundfile

from gossamer.speech.corpora import audio, sphere


def write_header(path, coding, samples, *, count=800):
    """A SPHERE file as the LDC writes them, by hand."""
    fields = [
        ("database_id", "-s13", "SWITCHBOARD-1"),
        ("channel_count", "-i", "2"),
        ("sample_rate", "-i", "8000"),
        ("sample_n_bytes", "-i", "1"),
        ("sample_count", "-i", str(count)),
        ("sample_max", "-r", "0.5"),
        ("sample_coding", f"-s{len(coding)}", coding),
    ]
    lines = ["NIST_1A", "   1024", *(" ".join(field) for field in fields), "end_head", ""]
    path.write_bytes("\n".join(lines).encode().ljust(1024) + samples)


@pytest.fixture
def sound():
    return np.random.default_rng(0).normal(scale=0.1, size=(800, 2))


def test_mu_law_of_two_channels_is_read(tmp_path, sound):
    soundfile.write(tmp_path / "own.sph", sound, 8000, format="NIST", subtype="ULAW")
    write_header(tmp_path / "ldc.sph", "ulaw", (tmp_path / "own.sph").read_bytes()[1024:])
    for name in ("own", "ldc"):
        heard = audio.read(tmp_path / f"{name}.sph", 8000, channel=1)
        # The finest steps of mu-law are 2 of 8159, and each is a 32nd of the amplitude at most.
        np.testing.assert_allclose(heard, sound[:, 1], rtol=1 / 32, atol=2 / 8159)


def test_header(tmp_path):
    write_header(tmp_path / "a.sph", "ulaw", b"")
    header = sphere.read_header(tmp_path / "a.sph")
    assert header["database_id"] == "SWITCHBOARD-1"
    assert (header["channel_count"], header["sample_max"]) == (2, 0.5)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"RIFF",
        b"NIST_1A\n",
        b"NIST_1A\n   many\n",
        b"NIST_1A\n99999999\n",
        b"NIST_1A\n   1024\nsample_rate -i fast\nend_head\n",
        b"NIST_1A\n   1024\nsample_rate -i 8000\n",
    ],
)
def test_what_is_not_sphere_has_no_header(tmp_path, content):
    path = tmp_path / "a.sph"
    path.write_bytes(content)
    assert sphere.read_header(path) == {}
    assert sphere.find_remedy(path) is None
    with pytest.raises(audio.AudioError, match="convert it"):
        audio.read(path, 8000)


@pytest.mark.parametrize(
    ("coding", "message"),
    [
        (
            "ulaw,embedded-shorten-v2.00",
            r"compressed \(ulaw,embedded-shorten-v2.00\); decode it by",
        ),
        ("pcm,embedded-shorten-v2.00", "`sph2pipe -f wav sw1.sph sw1.wav`, or by NIST's `w_decode"),
        ("g721", "coded as 'g721'; convert it by `sph2pipe"),
    ],
)
def test_other_codings_have_a_remedy(tmp_path, coding, message):
    write_header(tmp_path / "sw1.sph", coding, b"ajkg\x02" + bytes(2000))
    with pytest.raises(audio.AudioError, match=message) as caught:
        audio.read(tmp_path / "sw1.sph", 8000, channel=0)
    assert str(caught.value).startswith(str(tmp_path / "sw1.sph"))
