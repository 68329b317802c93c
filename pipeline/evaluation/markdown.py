"""Markdown of words that come from strangers: names of classes, folders and files are no markup."""

import re
import string
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

_NAME = 60
_PLAIN = frozenset("-.,;%=/'\"")
_HOST = re.compile(r"www\.", re.IGNORECASE)
"""A reader of GitHub's Markdown makes a link of it."""
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)


def text(words: str, most: int = _NAME) -> str:
    """Return *words*, at most so many characters, as nothing but words to any reader of Markdown
    or HTML, on one line: all punctuation may be escaped by a backslash (CommonMark 0.31, section
    2.4)."""
    plain = _one_line(words)
    if len(plain) > most:
        plain = plain[: most - 1] + "…"
    escaped = "".join(
        _ENTITIES.get(c, f"\\{c}" if c in string.punctuation and c not in _PLAIN else c)
        for c in plain
    )
    return _HOST.sub(lambda found: f"{found[0][:-1]}\\.", escaped)


def code(words: str) -> str:
    """Return *words* as inline code, in which no escape is read."""
    plain = _one_line(words).replace("`", "'").replace("|", "/")
    return f"`{plain[: 2 * _NAME]}`"


def _one_line(text: str) -> str:
    """Control and format characters may break a line, or turn the direction of what follows."""
    return "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in text)
