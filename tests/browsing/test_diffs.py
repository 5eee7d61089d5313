from hypothesis import given
from hypothesis import strategies as st

from pusherable.browsing import diffs
from pusherable.browsing.diffs import diff

words = st.lists(st.sampled_from(["a", "b", " ", "\n", "harbour", "é", "<", ","])).map("".join)


def marked(parts):
    return "".join(f"[{part.text}]" if part.is_different else part.text for part in parts)


def test_word_by_word():
    before, after = diff("The harbour wall, old and grey", "The new harbour wall, grey")
    assert marked(before) == "The harbour wall, [old and ]grey"
    assert marked(after) == "The [new ]harbour wall, grey"


def test_what_is_too_long_is_compared_line_by_line():
    lines = [f"{number} a b c d e f g\n" for number in range(100)]
    others = [line.replace("c", "x") if number % 2 else line for number, line in enumerate(lines)]
    before, _after = diff("".join(lines), "".join(others))
    assert [part.text for part in before if part.is_different] == lines[1::2]


def test_one_word_of_a_long_text():
    text = "word " * 50_000
    before, after = diff(f"{text}old {text}", f"{text}new {text}")
    assert [part.text for part in before if part.is_different] == ["old "]
    assert [part.text for part in after if part.is_different] == ["new "]


def test_what_has_nothing_in_common_and_is_endless():
    old, new = ("a b " * 5_000, "c\n" * 5_000)
    assert diff(old, new) == ([(old, True)], [(new, True)])
    assert diff("", new) == ([], [(new, True)])


@given(words, words)
def test_the_parts_make_up_the_texts(old, new):
    before, after = diff(old, new)
    assert "".join(part.text for part in before) == old
    assert "".join(part.text for part in after) == new
    same = ["".join(part.text for part in parts if not part.is_different) for parts in (before, after)]
    assert same[0] == same[1]


@given(words, words)
def test_also_by_lines(old, new):
    most, diffs.MOST = diffs.MOST, 2
    try:
        before, after = diff(old, new)
    finally:
        diffs.MOST = most
    assert ("".join(part.text for part in before), "".join(part.text for part in after)) == (old, new)
