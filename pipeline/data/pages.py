"""Pages for people: one file each, no request to anywhere, everything escaped. None runs a script
but the review's, whose policy names it by its hash."""

from pathlib import Path

import jinja2

_HERE = Path(__file__).parent
_LONGEST = 160
"""Characters of a path or reason that are shown."""


def render_page(template: Path, **values: object) -> str:
    """Return the page that the file *template* makes of *values*."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader((template.parent, _HERE)),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"short": short, "n": lambda count: f"{count:,}"}
    return environment.get_template(template.name).render(values)


def short(text: str) -> str:
    """The middle of a very long name is left out; its end says most."""
    if len(text) <= _LONGEST:
        return text
    return f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 2 :]}"
