"""A stranger's words stay words."""

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from pipeline.evaluation.markdown import code, table, text

READER = MarkdownIt("commonmark", {"html": True}).enable("table")
HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[click](javascript:alert(1))",
    "![x](http://evil.example/track.png)",
    "a|b",
    "`code`",
    "**bold**",
    "_under_",
    "http://evil.example",
    "www.evil.example",
    "&lt;script&gt;",
    "two\nlines",
    "\\| escaped \\",
    "# heading",
    "\u202eright to left",
)


class Seen(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags, self.words = set(), ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)

    def handle_data(self, data):
        self.words += data


def cells(words: str) -> Seen:
    return Seen(READER.render("\n".join(table(("class", "n"), [(text(words), "1")]))))


@pytest.mark.parametrize("words", HOSTILE)
def test_a_hostile_name_is_one_cell_of_words(words):
    seen = cells(words)
    assert seen.tags == {"table", "thead", "tbody", "tr", "th", "td"}
    flat = " ".join(words.replace("\u202e", " ").split())
    assert " ".join(seen.words.split()) == f"class n {flat} 1"


@given(st.text(max_size=60))
def test_any_name_is_one_cell_of_words(words):
    assert cells(words).tags == {"table", "thead", "tbody", "tr", "th", "td"}


@given(st.text(max_size=60))
def test_any_hash_is_code_and_nothing_else(words):
    assert Seen(READER.render(f"- x {code(words)} y")).tags <= {"ul", "li", "code"}


def test_a_long_name_is_cut():
    assert text("a" * 100) == "a" * 59 + "…"


def test_a_usual_name_stays_readable():
    assert text("golden retriever-2.jpg") == "golden retriever-2.jpg"
