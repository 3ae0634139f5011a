from gossamer.speech.transcript import Transcript, join_pieces


def test_alternatives_join_to_the_best_of_different_texts():
    pieces = [
        [Transcript("a", [("a", 0.1)], -1.0), Transcript("b", [("b", 0.1)], -1.5)],
        [Transcript("", [], -0.1), Transcript("c", [("c", 0.9)], -0.2)],
    ]
    found = join_pieces(pieces, nbest=3)
    assert [transcript.text for transcript in found] == ["a", "a c", "b"]
    assert found[1] == Transcript("a c", [("a", 0.1), ("c", 0.9)], -1.2)


def test_of_equal_texts_the_better_one_stays():
    pieces = [
        [Transcript("a b", [], -3.0), Transcript("a", [], -1.0)],
        [Transcript("", [], -5.0), Transcript("b", [], -1.0)],
    ]
    found = join_pieces(pieces, nbest=9)
    assert [(transcript.text, transcript.score) for transcript in found] == [
        ("a b", -2.0),
        ("a b b", -4.0),
        ("a", -6.0),
    ]


def test_nothing_joins_to_nothing():
    assert join_pieces([], nbest=2) == [Transcript("", [], 0.0)]
