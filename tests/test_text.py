"""What is done to text of others before anybody sees it."""

import io
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cifarsweep.text import (
    EscapedStream,
    data_output,
    escape_controls,
    is_plain,
    one_line,
    page_text,
    page_texts,
    raw_stream,
)

#: Characters of these categories are not seen, or change how others are.
TRICKY = {"Cc", "Cf", "Cs", "Zl", "Zp"}
#: But these belong to ordinary spelling: joiners, and formats that are seen.
SPELLING = "\u200c\u200d\n\t"


def seen(character: str) -> bool:
    name = unicodedata.name(character, "")
    return (
        character in SPELLING or name.startswith(("ARABIC", "SYRIAC", "KAITHI", "EGYPTIAN")) and character != "\u061c"
    )


def test_every_character_that_hides_or_steers_becomes_a_sign():
    every = (chr(code) for code in range(sys.maxunicode + 1))
    tricky = [each for each in every if unicodedata.category(each) in TRICKY and not seen(each)]

    assert len(tricky) > 2000  # most are halves of surrogate pairs
    assert [each for each in tricky if not escape_controls(each).isprintable()] == []


@given(st.text(st.characters(codec=None, categories=None)))
def test_an_escaped_text_can_be_written_and_printed_again(text):
    shown = escape_controls(text)

    shown.encode()
    assert not {unicodedata.category(each) for each in shown if each not in "\n\t" and not seen(each)} & (
        TRICKY - {"Cf"}
    )
    assert escape_controls(shown) == shown


def test_names_of_all_scripts_stay_as_they_are():
    names = ("café ☃", "می\u200cخواهم", "👩\u200d💻", "名前", "क्\u200dष", "שלום", "葛\U000e0100", "\u0600")

    assert [escape_controls(name) for name in names] == list(names)
    assert all(map(is_plain, names))


def test_a_name_that_needs_escaping_is_not_plain():
    assert not any(map(is_plain, ("a\nb", "é\nb", "é\tb", "a\x1bb", "é\u202eb", "\ud800")))


def test_a_passage_from_right_to_left_leaves_the_numbers_beside_it_where_they_are():
    assert page_text("95.4 at שלום 2 עולם, 3.3") == "95.4 at \u2068שלום 2 עולם\u2069, 3.3"
    assert page_text("1 שלום; 2 עולם") == "1 \u2068שלום\u2069; 2 \u2068עולם\u2069"
    assert page_text("a\u2068b") == "a⟨U+2068⟩b"


def test_what_goes_to_a_page_as_json_is_escaped_all_through():
    assert page_texts({"a": ["x\u202e", ("y", 1.5, None)]}) == {"a": ["x⟨U+202E⟩", ["y", 1.5, None]]}


@pytest.mark.parametrize(
    ("text", "line"),
    [("a\nb\tc", "a␊b␉c"), ("a\x1b[2Jb", "a␛[2Jb"), ("a\x85\u2028b", "a⟨U+0085⟩⟨U+2028⟩b"), ("a\u2068b", "a⟨U+2068⟩b")],
)
def test_a_name_within_a_line_ends_no_line(text, line):
    assert one_line(text) == line


def test_nothing_that_is_written_to_an_escaped_stream_steers():
    below = io.StringIO()
    stream = EscapedStream.of(below)

    print("a\x1b[2Jb", "c\rd", file=stream)
    stream.writelines(["e\x9b1m\n"])

    assert below.getvalue() == "a␛[2Jb c␍d\ne⟨U+009B⟩1m\n"
    assert EscapedStream.of(stream) is stream and raw_stream(stream) is raw_stream(below) is below
    assert not hasattr(stream, "buffer")


@pytest.mark.parametrize("terminal", [True, False])
def test_data_are_exact_but_on_a_terminal(monkeypatch, terminal):
    below = io.StringIO()
    monkeypatch.setattr(below, "isatty", lambda: terminal)
    monkeypatch.setattr(sys, "stdout", EscapedStream.of(below))

    data_output().write("a\x1bb")

    assert below.getvalue() == ("a␛b" if terminal else "a\x1bb")
