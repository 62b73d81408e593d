"""Pages opened in Chromium as people open them: from a file, by keyboard, on paper, on a phone, in the dark.

The delivery has a hostile text in every column, so that whatever a file may hold is looked at, too.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from bs4 import BeautifulSoup
from playwright.sync_api import Browser, Page, sync_playwright

from foundation.cli import main
from foundation.errors import visible
from tests.support.hostile import FOLDER, SOURCES, require_harmless, write_hostile
from tests.support.inspection import query
from tests.support.processes import chromium

STEMS = ["index", "02_overview", "03_explore", *(f"01_ingest_{name}" for name in SOURCES), "../index"]
KINDS = ["index", "01_ingest_orders", "02_overview", "03_explore", "../index"]
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """The folder of a report on the hostile delivery."""
    home = tmp_path_factory.mktemp("browser") / FOLDER
    data = write_hostile(home / "data")
    assert main(["report", str(data), "--db", str(home / "r.db"), "--out", str(home / "out")]) == 0
    return next(path.parent for path in (home / "out").glob("*/index.html"))


@pytest.fixture(scope="module")
def browser(made) -> Iterator[Browser]:
    """Chromium; begun behind the report, for both have an event loop."""
    with sync_playwright() as runner:
        opened = runner.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def opened(browser, made):
    """A page of the run, opened as the options say; it keeps a list of what it asked for, `asked`."""

    def open_(stem: str, **options):
        page = browser.new_page(**{"viewport": DESKTOP} | options)
        page.asked = []
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto((made / f"{stem}.html").resolve().as_uri())
        pages.append(page)
        return page

    pages: list[Page] = []
    yield open_
    for page in pages:
        page.close()


@pytest.mark.parametrize("stem", STEMS)
def test_a_page_asks_for_nothing_but_itself_and_nothing_of_the_data_lives(opened, made, stem):
    page = opened(stem)

    shown = BeautifulSoup(page.content(), "html.parser")
    assert page.asked == [(made / f"{stem}.html").resolve().as_uri()]
    assert "did not run to its end" not in shown.get_text()
    require_harmless(shown)


@pytest.mark.parametrize("name", SOURCES)
def test_the_page_of_a_source_shows_the_texts_it_refused(opened, made, name):
    (first,) = query(
        made.parents[1] / "r.db",
        "SELECT value FROM _errors JOIN _rejects USING (reject_id) WHERE source = ? LIMIT 1",
        name,
    )

    assert visible(first, 300) in BeautifulSoup(opened(f"01_ingest_{name}").content(), "html.parser").get_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("stem", KINDS)
def test_axe_finds_no_violation(opened, stem, viewport, scheme):
    page = opened(stem, viewport=viewport, color_scheme=scheme, bypass_csp=True)  # else axe could not run either
    page.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")

    found = Axe().run(page).response

    assert len(found["passes"]) > 10, "axe looked at nothing"
    assert [(broken["id"], broken["nodes"][0]["html"]) for broken in found["violations"]] == []


def test_axe_does_find_what_is_broken(opened):
    page = opened("index", bypass_csp=True)
    page.evaluate("document.body.style.color = '#ddd'; document.documentElement.lang = ''")

    found = {broken["id"] for broken in Axe().run(page).response["violations"]}

    assert {"color-contrast", "html-has-lang"} <= found


@pytest.mark.parametrize("stem", STEMS)
def test_a_narrow_screen_is_not_scrolled_sideways(opened, stem):
    page = opened(stem, viewport=PHONE)
    page.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")

    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def press_until(page: Page, wanted: str) -> None:
    """Go on with the Tab key until what has the focus matches a selector."""
    for _ in range(100):
        page.keyboard.press("Tab")
        if page.evaluate(f"document.activeElement.matches({wanted!r})"):
            return
    pytest.fail(f"the Tab key does not lead to {wanted}")


def test_the_contents_lead_to_their_headings_by_keyboard(opened):
    page = opened("01_ingest_orders")

    press_until(page, "nav.contents li:nth-child(3) a")
    page.keyboard.press("Enter")

    wanted = page.locator("nav.contents li:nth-child(3) a").get_attribute("href").removeprefix("#")
    assert page.url.endswith(f"#{wanted}")
    assert page.evaluate("scrollY") > 0
    assert abs(page.locator(f"[id='{wanted}']").bounding_box()["y"]) < 5


def test_code_is_shown_and_hidden_by_keyboard(opened):
    page = opened("01_ingest_orders")
    code = page.locator("details.code pre").first
    assert not code.is_visible()

    press_until(page, "details.code summary")
    page.keyboard.press("Enter")
    assert code.is_visible()
    page.keyboard.press("Space")

    assert not code.is_visible()


BROKEN_WORDS = """() => {
  const short = cell => cell.children.length == 0 && /^[\\w.,%]{1,9}$/.test(cell.innerText);
  return [...document.querySelectorAll('td, th')].filter(short).filter(cell => {
    const range = document.createRange(); range.selectNodeContents(cell);
    return range.getClientRects().length > 1;
  }).map(cell => cell.innerText);
}"""  # short words and numbers in tables that go over two lines


@pytest.mark.parametrize("stem", KINDS)
def test_on_paper_all_content_is_there_and_the_code_is_not(opened, stem):
    page = opened(stem, color_scheme="dark", viewport={"width": 720, "height": 1000})
    page.emulate_media(media="print")

    aside = page.locator("nav.contents, details.code").all()
    assert not any(part.is_visible() for part in aside)
    for part in page.locator("h1, h2, main > p, tbody tr, .plot > svg").all():
        assert part.is_visible()
    cut = "[...document.querySelectorAll('.scroll')].filter(one => getComputedStyle(one).overflowX != 'visible').length"
    assert page.evaluate(cut) == 0
    assert page.evaluate(BROKEN_WORDS) == []
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
