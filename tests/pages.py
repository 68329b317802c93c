"""Pages as a browser reads them."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """The elements of a page, as a browser reads them, and its words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data

    @property
    def sources(self) -> list[str]:
        return [attributes["src"] or "" for tag, attributes in self.elements if tag == "img"]
