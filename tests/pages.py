"""Pages as a browser reads them, and as it shows them."""

from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path

from playwright.sync_api import Browser


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


def shown_whole(
    browser: Browser,
    file: Path,
    picture: Path,
    *,
    width: int,
    scheme: str,
    title: str,
    sections: Iterable[str],
    words: Iterable[str],
) -> int:
    """Open *file* and see that all of it is there, fits, complains of nothing and asks for nothing
    else; *picture* shows it to people. Return how many images it has."""
    complaints: list[str] = []
    requests: list[str] = []
    page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(file.as_uri())
    page.screenshot(path=picture, full_page=True)

    asked = [url for url in requests if not url.startswith("data:")]
    assert (complaints, asked) == ([], [file.as_uri()])
    assert page.locator("h1").inner_text() == title
    for section in sections:
        assert page.locator(f"#{section} > h2").is_visible(), section
    for said in words:
        assert page.get_by_text(said).count(), said
    widths = page.locator("img").evaluate_all("all => all.map(one => one.naturalWidth)")
    assert min(widths) > 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for summary in page.locator("summary").all():
        summary.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()
    return len(widths)
