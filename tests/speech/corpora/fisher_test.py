import pytest

from gossamer.speech.corpora import fisher


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("((i think)) it's a- (( )) [laughter] no", "i think it's a- no"),
        ("t._v. a.m. i.b.m.", "t v a m i b m"),
        ("%um {breath} uh-huh ~PBS +hm", "um uhhuh PBS hm"),
        ("<contraction e_form=\"[it=>it]['s=>is]\">it's <b_aside> fine", "it's fine"),
    ],
)
def test_signs(written, spoken):
    assert fisher.clean(written) == spoken


def test_files_of_both_corpora(tmp_path):
    path = tmp_path / "sw_4390.txt"
    path.write_text("#Language: eng\n#File id: 4390\n\n121 122.43 B: mhm\n123.5 124 A1: yes\n")
    first, second = fisher.read_file(path)
    assert first == ("sw_4390-B-0004", "sw_4390", "B", 121.0, 122.43, "mhm")
    assert second.side == "A"
    with pytest.raises(ValueError, match=r"holds no transcript fe_03_\*.txt"):
        list(fisher.read_transcripts(tmp_path))


@pytest.mark.parametrize("line", ["1.0 2.0 hello", "1.0 A: hello", "1.0 2.0 C: hello"])
def test_broken_lines_are_named(tmp_path, line):
    (tmp_path / "fe_03_00001.txt").write_text(f"# fe_03_00001.sph\n\n{line}\n")
    with pytest.raises(ValueError, match="line 3: must be `start end A: words`"):
        list(fisher.read_transcripts(tmp_path))
