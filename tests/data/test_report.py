"""The data report shows everything, leaks nothing, and is no page of the source's making."""

import base64
import hashlib
import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from pages import Page
from PIL import Image, ImageDraw

from pipeline.data import report as report_module
from pipeline.data.catalogue import Catalogue, CatalogueRow, Refusal
from pipeline.data.report import Report, describe, glance, write_report
from pipeline.data.splits import SplitRow, Splits

HOSTILE = "</td><script>alert(1)</script>\"'\n`|&<img src=//x onerror=alert(2)>"
GPS = b"GPS-was-here"


class Dataset:
    """A snapshot of small pictures, put together row by row."""

    def __init__(self, folder: Path) -> None:
        self.images = folder
        self.rows: list[CatalogueRow] = []
        self.splits: list[SplitRow] = []
        self.refusals: list[Refusal] = []

    def add(
        self,
        path: str,
        label: str | None,
        split: str,
        reason: str | None = None,
        detail: str | None = None,
        data: bytes | None = None,
        copies: tuple[str, ...] = (),
        phash: str | None = "00000000000000ff",
        **looks: float,
    ) -> str:
        """Lay down an image; return its sha256, as if *path* were its content."""
        sha256 = hashlib.sha256(path.encode()).hexdigest()
        file = f"{sha256}.png"
        (self.images / file).write_bytes(picture(len(self.rows)) if data is None else data)
        figures = {"brightness": 0.5, "sharpness": 100.0} | looks
        self.rows.append(
            CatalogueRow(sha256, file, path, copies, label, 100, 64, 48, "RGB", phash, **figures)  # type: ignore[arg-type]
        )
        self.splits.append(SplitRow(sha256, file, label, 64, 48, split, reason, detail))
        return sha256

    def describe(self) -> Report:
        rows = tuple(sorted(self.rows, key=lambda row: row.sha256))
        splits = tuple(sorted(self.splits, key=lambda row: row.sha256))
        return describe(
            Catalogue("/far/away/photos", rows), Splits(splits, 0, 0.2, 0.2), self.refusals, 4
        )

    def page(self, name: str = "page.html") -> str:
        write_report(self.images / name, self.describe(), self.images)
        return (self.images / name).read_text(encoding="utf-8")


def picture(number: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (64, 48), (number % 256, 99, 30)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Two classes of thirty images in each split, of which nothing is to be said."""
    made = Dataset(tmp_path)
    for number in range(90):
        split = ("train", "validation", "test")[number % 3]
        made.add(f"cat/{number}.png", "cat", split)
        made.add(f"dog/{number}.png", "dog", split)
    return made


def test_a_dataset_without_faults_raises_no_concern(dataset):
    assert dataset.describe().concerns == ()
    assert "Nothing stands out" in Page(dataset.page()).words


def test_what_a_source_names_is_shown_as_words_and_never_as_a_page(dataset):
    harmless = {tag for tag, _ in Page(dataset.page()).elements}
    for split in ("train", "validation", "test"):
        dataset.add(f"{split}/{HOSTILE}", HOSTILE, split, copies=(HOSTILE,))
    dataset.add(f"a{HOSTILE}", "cat", "left_out", "excluded", HOSTILE)
    dataset.add(f"b{HOSTILE}", None, "left_out", "label_conflict", copies=(HOSTILE,))
    dataset.add(f"c{HOSTILE}", "cat", "left_out", HOSTILE, HOSTILE)
    dataset.refusals += [Refusal(HOSTILE, "label_conflict", HOSTILE)]
    dataset.refusals += [Refusal(HOSTILE, HOSTILE, HOSTILE)]
    page = Page(dataset.page())
    assert {tag for tag, _ in page.elements} - harmless <= {"article", "ul", "li", "code", "div"}
    assert page.words.count(HOSTILE) >= 8
    for tag, attributes in page.elements:
        assert tag not in ("script", "iframe", "object", "base", "form")
        assert not [name for name in attributes if name.startswith("on")]
        assert (attributes.get("href") or "#").startswith("#")
    assert all(source.startswith("data:image/") for source in page.sources)


def test_the_markdown_for_prefect_has_no_line_or_link_of_the_sources_making(dataset):
    name = "](//x)\n# <script>|`"
    for split in ("train", "validation", "test"):
        dataset.add(f"{split}.png", name, split)
    (line,) = [line for line in glance(dataset.describe()).splitlines() if "script" in line][:1]
    assert line == "| \\]\\(//x\\) \\# &lt;script&gt;\\|\\` | 1 | 1 | 1 | 0 |"


def test_no_picture_on_the_page_says_where_it_was_taken(dataset):
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x010F] = "camera of " + GPS.decode()
    exif.get_ifd(0x8825)[0x1D] = GPS.decode()
    Image.new("RGB", (300, 200)).save(
        out, "JPEG", exif=exif, comment=GPS, icc_profile=GPS, xmp=GPS, dpi=(72, 72)
    )
    tiny = io.BytesIO()
    Image.new("RGB", (9, 9)).save(tiny, "PNG", exif=exif, icc_profile=GPS)
    assert out.getvalue().count(GPS) >= 4
    assert GPS in tiny.getvalue()
    dataset.add("cat/at home.jpg", "cat", "left_out", "excluded", "private", data=out.getvalue())
    dataset.add("cat/at home.png", "cat", "left_out", "excluded", "private", data=tiny.getvalue())
    sources = Page(dataset.page()).sources
    assert len(sources) > 80
    for source in sources:
        data = base64.b64decode(source.split(",")[1])
        assert GPS not in data
        shown = Image.open(io.BytesIO(data))
        assert not shown.getexif()
        assert not set(shown.info) - {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


def test_pictures_are_upright(dataset):
    """A wide picture whose left half is red, stored turned."""
    upright = Image.new("RGB", (300, 200), "blue")
    ImageDraw.Draw(upright).rectangle((0, 0, 149, 199), "red")
    exif = Image.Exif()
    exif[0x0112] = 6
    out = io.BytesIO()
    upright.transpose(Image.Transpose.ROTATE_90).save(out, "JPEG", exif=exif)
    dataset.add("cat/turned.jpg", "cat", "left_out", "excluded", "turned", data=out.getvalue())
    page = Page(dataset.page())
    (source,) = [
        attributes["src"]
        for tag, attributes in page.elements
        if tag == "img" and attributes["alt"] == "cat/turned.jpg"
    ]
    shown = Image.open(io.BytesIO(base64.b64decode(source.split(",")[1]))).convert("RGB")
    assert shown.width > shown.height
    left, right = shown.getpixel((9, 50)), shown.getpixel((shown.width - 9, 50))
    assert left[0] > 200 > 100 > left[2]
    assert right[2] > 200 > 100 > right[0]


def test_the_same_dataset_gives_the_same_bytes_wherever_it_lies(dataset, tmp_path):
    first = dataset.page("first.html")
    moved = tmp_path / "moved"
    tmp_path.joinpath("copy").mkdir()
    for image in tmp_path.glob("*.png"):
        image.rename(tmp_path / "copy" / image.name)
    tmp_path.joinpath("copy").rename(moved)
    write_report(tmp_path / "second.html", dataset.describe(), moved)
    assert (tmp_path / "second.html").read_text(encoding="utf-8") == first
    assert str(tmp_path) not in first
    assert "/far/away" not in first


def test_every_reason_for_leaving_out_is_shown_with_its_picture_and_partner(dataset):
    partner = dataset.add("dog/partner.png", "dog", "test", phash="00000000000000f0")
    near = dataset.add("cat/near.png", "cat", "left_out", "near_test", partner)
    other = dataset.add("dog/other.png", "dog", "validation")
    close = dataset.add("dog/close.png", "dog", "left_out", "near_val", other)
    out = dataset.add("cat/out.png", "cat", "left_out", "excluded", "a drawing")
    two = dataset.add("cat/two.png", None, "left_out", "label_conflict", copies=("dog/two.png",))
    torn = dataset.add("cat/torn.png", "cat", "left_out", "copies_disagree", "about its group")
    dataset.refusals += [
        Refusal("cat/two.png", "label_conflict", "same content as dog/two.png, of class dog"),
        Refusal("dog/two.png", "label_conflict", "same content as cat/two.png, of class cat"),
    ]
    report = dataset.describe()
    shown = {
        finding.key: (tuple(p.sha256 for p in finding.cases[0].pictures), finding.cases[0])
        for finding in report.left_out
    }
    assert {key: pictures for key, (pictures, _) in shown.items()} == {
        "near_test": (near, partner),
        "near_val": (close, other),
        "label_conflict": (two,),
        "copies_disagree": (torn,),
        "excluded": (out,),
    }
    assert shown["near_test"][1].is_alarming, "its partner has another class"
    assert not shown["near_val"][1].is_alarming
    words = Page(dataset.page()).words
    for said in (
        "4 of the 64 bits of their hashes differ",
        "a drawing",
        "about its group",
        "same content as dog/two.png, of class dog",
        "same content as cat/two.png, of class cat",
        partner,
    ):
        assert said in words


def test_copies_and_relabelled_images_are_shown_beside_what_they_were(dataset):
    dataset.add("cat/a.png", "cat", "train", copies=("cat/again.png", "cat/and again.png"))
    dataset.add("cat/wrong.png", "cat", "train")
    dataset.splits[-1] = replace(dataset.splits[-1], label="dog")
    report = dataset.describe()
    (case,) = report.repeated.cases
    assert [path for path, _ in case.places] == ["cat/again.png", "cat/and again.png"]
    (case,) = report.relabelled.cases
    assert (case.pictures[0].label, case.says) == ("dog", "was cat")


def test_refused_files_are_counted_by_reason_and_named(dataset):
    dataset.refusals += [Refusal(f"cat/{i}.jpg", "damaged", "cut off") for i in range(200)]
    dataset.refusals += [Refusal("cat/a.jpg", "duplicate", "same content as b")]
    dataset.refusals += [Refusal("dog/none.jpg", "empty", "the file has no bytes")]
    report = dataset.describe()
    assert [(each.reason, each.total) for each in report.refused] == [
        ("damaged", 200),
        ("empty", 1),
    ]
    words = Page(dataset.page()).words
    assert "cat/0.jpg" in words
    assert "… and 175 more" in words
    assert "dog/none.jpg" in words


@pytest.mark.parametrize("damage", ["missing", "damaged", "a folder"])
def test_a_picture_that_cannot_be_shown_is_a_grey_square(dataset, damage):
    before = Page(dataset.page()).sources
    for row in dataset.rows:
        (dataset.images / row.file).unlink()
        if damage == "damaged":
            (dataset.images / row.file).write_bytes(b"\x89PNG\r\n\x1a\nnothing")
        if damage == "a folder":
            (dataset.images / row.file).mkdir()
    after = Page(dataset.page()).sources
    assert len(after) == len(before)
    assert {source.partition(";")[0] for source in after} == {"data:image/svg+xml"}


def test_a_large_dataset_makes_a_page_of_bounded_size(tmp_path, monkeypatch):
    """Every bound at once; opens no image, for describing it must not."""
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"opened {path}"))
    made = Dataset(tmp_path)
    monkeypatch.setattr(Path, "write_bytes", lambda path, data: len(data))
    reasons = ("near_test", "near_val", "excluded", "label_conflict", "copies_disagree")
    for number in range(4000):
        label = f"class {number % 130:03d}"
        made.add(f"{number}.png", label, "train", copies=("copy",) * 99)
    for number in range(1000):
        reason = reasons[number % len(reasons)]
        made.add(f"out {number}.png", "class 000", "left_out", reason, made.rows[number].sha256)
    report = made.describe()
    assert len(report.sheets) == 100
    assert sum(len(sheet.pictures) for sheet in report.sheets) <= 2000
    assert all(len(finding.cases) == 100 and finding.total == 200 for finding in report.left_out)
    assert (len(report.repeated.cases), report.repeated.total) == (100, 4000)
    assert report.repeated.cases[0].more == 99 - len(report.repeated.cases[0].places)
    assert len(list(report.pictures())) < 3200
    words = Page(report_module.render(report, Everything())).words
    assert "… and 30 more classes" in words
    assert "… and 3,900 more" in words


class Everything(dict):
    """A thumbnail for whatever is asked."""

    def __missing__(self, file: str) -> object:
        return report_module.Thumbnail("data:image/png;base64,", 1, 1)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(
            lambda d: [d.add(f"more/{i}", "cat", "train") for i in range(900)],
            "The classes are uneven: cat has 11 times as many images as dog",
            id="uneven classes",
        ),
        pytest.param(
            lambda d: [d.add(f"few/{s}", "few", s) for s in ("train", "validation", "test")],
            "few has fewer than 10 images to validate or test on",
            id="a class of three",
        ),
        pytest.param(
            lambda d: d.add("gone/a", "gone", "left_out", "excluded", "all of them"),
            "No image of gone is used",
            id="a class that is wholly left out",
        ),
        pytest.param(
            lambda d: d.refusals.extend(Refusal(f"{i}", "damaged", "") for i in range(20)),
            "20 of 200 files were refused (10%), most of them as damaged",
            id="many refused",
        ),
        pytest.param(
            lambda d: d.add("cat/night", "cat", "train", brightness=0.01),
            "1 image is all but black",
            id="dark",
        ),
        pytest.param(
            lambda d: d.add("cat/near", "cat", "left_out", "near_test", d.rows[1].sha256),
            "1 image left out as a near-duplicate has another class",
            id="a near-duplicate in another class",
        ),
        pytest.param(
            lambda d: d.add("cat/two", None, "left_out", "label_conflict"),
            "1 image lies in two classes at once",
            id="two classes",
        ),
        pytest.param(
            lambda d: d.add("cat/small", "cat", "train", phash=None),
            "1 image is under 32 pixels",
            id="too small for a perceptual hash",
        ),
    ],
)
def test_what_deserves_a_second_look_is_said_in_one_sentence(dataset, change, says):
    change(dataset)
    said = [concern.says for concern in dataset.describe().concerns]
    assert any(line.startswith(says) for line in said), said
    page = dataset.page()
    sections = set(re.findall(r'<section id="([^"]+)"', page))
    assert {concern.section for concern in dataset.describe().concerns} <= sections
