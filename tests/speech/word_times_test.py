from gossamer.speech.word_times import EmittedWord, join_characters


def test_spaces_of_any_number_divide_words():
    labels = [(" ", 0.0), ("a", 0.1), ("b", 0.1), (" ", 0.2), (" ", 0.3), ("c", 0.4)]
    assert join_characters(labels) == [EmittedWord("ab", 0.1, 0.1), EmittedWord("c", 0.4, 0.4)]
    assert join_characters([]) == []
