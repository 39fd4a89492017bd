"""The page in a real browser, on a real server: keys, colours, splits, leases, tabs, a killed server.

One browser and one server for all tests, which take whatever tasks come; the first one finds the cell bodies.
"""

from __future__ import annotations

import io
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from page_project import BODIES, COLUMNS, PASSWORD, STEP, Site, block, free_port, write_project
from PIL import Image

pytestmark = pytest.mark.slow
CHROMIUM = shutil.which("chromium")
if CHROMIUM is None:
    pytest.skip("no browser here: apt-get install chromium", allow_module_level=True)
sync_api = pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install '.[test]'")

FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
SIZE = {"width": 1280, "height": 800}
OURS = {"X-Requested-By": "proofread"}
Page = Any


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    found = Site(tmp_path_factory.mktemp("rows"), free_port())
    write_project(found.folder, found.port)
    found.start()
    yield found
    found.end()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


@pytest.fixture(scope="module")
def open_page(site: Site, browser: Any) -> Iterator[Page]:
    """The page of Anna, who logged in by name and password."""
    context = browser.new_context(viewport=SIZE)
    context.set_default_timeout(30_000)
    found = context.new_page()
    found.goto(site.address)
    log_in(found, "anna")
    yield found
    context.close()


@pytest.fixture
def page(open_page: Page, site: Site) -> Page:
    """That page at a task, whatever the test before left."""
    if site.process is None:
        site.start()
    for _ in range(3):
        if now(open_page, "mode") != "join":
            open_page.keyboard.press("Escape")
            open_page.wait_for_timeout(200)
    return open_page


def log_in(page: Page, name: str) -> None:
    """Logs in by name and password, and waits for a task."""
    page.fill("#login-name", name)
    page.fill("#login-password", PASSWORD)
    page.keyboard.press("Enter")
    drawn(page)


def drawn(page: Page) -> str:
    """Waits until a task is drawn; gives its number."""
    page.wait_for_selector("body[data-drawn]")
    return now(page, "task")


def now(page: Page, name: str) -> str:
    """What the page says of itself."""
    return str(page.get_attribute("body", f"data-{name}"))


def answer(page: Page, key: str) -> None:
    """Presses a key, and waits for the next task."""
    task = now(page, "task")
    page.wait_for_timeout(170)
    page.keyboard.press(key)
    page.wait_for_selector(f'body[data-task]:not([data-task="{task}"])')


def sent(page: Page) -> None:
    """Waits until nothing is on its way."""
    page.wait_for_selector('body[data-waiting="0"]')


def api(page: Page, path: str, body: dict[str, Any] | None = None) -> Any:
    """Asks the server as the page's person."""
    address = page.url.split("#")[0].rstrip("/") + path
    if body is None:
        return page.request.get(address, headers=OURS).json()
    return page.request.post(address, headers=OURS, data=body).json()


def owner(page: Page, supervoxel: str) -> Any:
    """The neuron of a supervoxel now."""
    found = api(page, f"/api/search?q={supervoxel}")["neurons"]
    return next(each for each in found if supervoxel in each["supervoxels"])


def counted(site: Site) -> list[tuple[int, str]]:
    """The answers that the server counts: task and verdict."""
    with sqlite3.connect(site.folder / "out/decisions.sqlite") as database:
        return database.execute("SELECT task, verdict FROM answers WHERE state = 'counted'").fetchall()


def leased(site: Site) -> set[int]:
    """The tasks that are with Anna."""
    with sqlite3.connect(site.folder / "out/decisions.sqlite") as database:
        return {task for (task,) in database.execute("SELECT task FROM leases WHERE person = 'anna'")}


def colours(page: Page) -> tuple[float, float, float]:
    """How much of the viewer is orange, is blue, and has any contrast at all."""
    picture = Image.open(io.BytesIO(page.locator("#viewer").screenshot())).convert("RGB")
    red, green, blue = np.moveaxis(np.asarray(picture).astype(int), -1, 0)
    orange = (red > blue + 70) & (red > green + 20)
    sky = (blue > red + 40) & (green > red)
    return float(orange.mean()), float(sky.mean()), float(np.std(green))


def test_two_cell_bodies_are_joined_only_by_force(page: Page, site: Site) -> None:
    task = drawn(page)
    assert api(page, f"/api/tasks/{task}")["supervoxels"] == [str(each) for each in BODIES]
    answer(page, "y")
    page.wait_for_selector("#ask[open]")
    assert "cell bodies" in page.inner_text("#ask") and now(page, "task") == task, "it is shown again"
    assert api(page, "/api/edits")["edits"] == []
    page.click("#ask button.danger")
    page.wait_for_selector("#ask h2:has-text('Two cell bodies in one neuron?')")
    page.click("#ask button.danger")
    page.wait_for_selector(f'body[data-task]:not([data-task="{task}"])')
    sent(page)
    (edit,) = api(page, "/api/edits")["edits"]
    assert edit["forced"] and edit["task"] == task


def test_the_picture_has_both_colours(page: Page) -> None:
    drawn(page)
    page.keyboard.press("c")
    page.wait_for_selector('#context-button[aria-pressed="false"]')
    page.wait_for_timeout(500)
    orange, blue, contrast = colours(page)
    page.keyboard.press("c")
    assert orange > 0.003 and blue > 0.003 and contrast > 10


def test_twenty_tasks_by_keys_only(page: Page, site: Site) -> None:
    before = len(counted(site))
    keys = "ynynynsyuynyynynyyny"
    shown = []
    for key in keys:
        shown.append(now(page, "task"))
        answer(page, key)
    sent(page)
    rows = counted(site)[before:]
    verdicts = {"y": "accept", "n": "reject", "u": "unknown", "s": "skip"}
    given = dict(zip(shown, keys, strict=True))
    assert {str(task): verdict for task, verdict in rows} == {
        task: verdicts[key] for task, key in given.items()
    }
    assert len(rows) == len(set(shown)) == len(keys)
    merges = [each for each in api(page, "/api/edits?limit=100")["edits"] if each["task"] in given]
    assert {each["task"] for each in merges} == {task for task, key in given.items() if key == "y"}


def test_a_no_is_taken_back_by_a_key_and_from_the_history(page: Page, site: Site) -> None:
    task = drawn(page)
    answer(page, "n")
    sent(page)
    page.keyboard.press("z")
    page.wait_for_selector(f'body[data-task="{task}"]')
    assert "Taken back" in page.inner_text("#mode-notice")
    assert api(page, f"/api/tasks/{task}")["state"] == "leased"
    answer(page, "n")
    sent(page)
    assert api(page, f"/api/tasks/{task}")["state"] == "settled"
    page.keyboard.press("h")
    row = f'li[data-task="{task}"]'
    page.wait_for_selector(f"{row}.undone:has-text('taken back by anna')")
    page.focus(f"{row}:not(.undone) button.take-back")
    page.keyboard.press("Enter")
    page.wait_for_selector(f'body[data-task="{task}"]')
    page.wait_for_function(f"() => document.querySelectorAll('{row}.undone').length === 2")
    page.keyboard.press("Escape")
    drawn(page)
    answer(page, "n")
    sent(page)
    log = [each for each in api(page, "/api/answers?limit=9")["answers"] if each["task"] == task]
    assert [each["withdrawn_by"] for each in log] == [None, "anna", "anna"]


def test_the_next_task_is_there_before_it_is_asked_for(page: Page) -> None:
    drawn(page)
    page.wait_for_selector("#ahead:has-text('2 more ready')")
    task = now(page, "task")
    page.route("**/api/tasks/**", lambda route: route.abort())
    page.wait_for_timeout(170)
    page.keyboard.press("n")
    page.wait_for_selector(f'body[data-task]:not([data-task="{task}"])', timeout=2000)
    page.unroute("**/api/tasks/**")
    page.wait_for_selector("#banner", state="hidden")
    sent(page)


def test_the_mouse_in_the_viewer_takes_no_keys(page: Page) -> None:
    drawn(page)
    box = page.locator("#viewer").bounding_box()
    page.mouse.move(box["x"] + 120, box["y"] + 120)
    page.wait_for_timeout(200)
    answer(page, "n")
    page.mouse.click(box["x"] + 140, box["y"] + 130)
    page.mouse.dblclick(box["x"] + 140, box["y"] + 130)
    groups = page.frames[1].evaluate(SEGMENTS)
    page.keyboard.press("x")  # Clears all, if the viewer gets it.
    page.keyboard.press("a")
    assert page.frames[1].evaluate(SEGMENTS) == groups != []
    answer(page, "n")
    page.keyboard.press("h")
    page.wait_for_selector("#history:not([hidden])")
    page.keyboard.press("Escape")
    page.mouse.move(700, 20)
    sent(page)


SEGMENTS = (
    "() => [...window.viewer.layerManager.getLayerByName('cells').layer.displayState"
    ".segmentationGroupState.value.visibleSegments].map(String).sort()"
)


SIDE = (
    "() => String(window.viewer.layerManager.getLayerByName('cut').layer.getValueAt("
    "window.viewer.navigationState.position.value, { pickedRenderLayer: null }))"
)


def test_keys_are_not_answers_while_somebody_writes(page: Page, site: Site) -> None:
    task, before = drawn(page), len(counted(site))
    page.keyboard.press("m")
    page.keyboard.type("nay, yes: see u.")
    page.keyboard.press("Enter")
    assert now(page, "task") == task and len(counted(site)) == before
    answer(page, "u")
    sent(page)
    assert api(page, f"/api/tasks/{task}")["comments"] == 1


def test_a_split_is_previewed_committed_and_undone(page: Page) -> None:
    first, second = str(block(7, 0)), str(block(7, 1))
    whole = owner(page, first)["supervoxels"]
    assert second in whole
    edits = len(api(page, "/api/edits?limit=500")["edits"])
    page.keyboard.press("/")
    page.keyboard.type(first)
    page.keyboard.press("Enter")
    page.wait_for_selector('body[data-mode="look"]')
    page.keyboard.press("t")
    page.wait_for_selector('body[data-mode="split"]')
    centre_on(page, block(7, 0))
    page.keyboard.press("p")
    page.wait_for_selector(".split-side:nth-of-type(1) li:has-text('piece')")
    page.keyboard.press("2")
    for _ in range(STEP):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("p")
    page.wait_for_selector(".split-side:nth-of-type(2) li:has-text('piece')")
    page.keyboard.press("Enter")
    page.wait_for_selector('section[data-preview="true"]')
    assert len(api(page, "/api/edits?limit=500")["edits"]) == edits, "a preview changes nothing"
    page.wait_for_timeout(500)
    orange, blue, _ = colours(page)
    assert orange > 0.003 and blue > 0.003
    page.keyboard.press("Enter")
    page.wait_for_selector('body[data-mode="look"]')
    assert owner(page, first)["id"] != owner(page, second)["id"]
    page.keyboard.press("z")
    page.wait_for_selector(".toast:has-text('was undone')")
    assert owner(page, first)["supervoxels"] == whole
    page.keyboard.press("Escape")
    page.wait_for_selector('body[data-mode="join"]')


def middle(supervoxel: int) -> list[int]:
    """Of a block, x, y, z in voxels."""
    row, column = divmod(supervoxel - 1, COLUMNS)
    return [4 + STEP * column + STEP // 2, 11 + 16 * (row + 1), 12]


def centre_on(page: Page, supervoxel: int) -> None:
    """Moves the view to the middle of a block."""
    where = middle(supervoxel)
    page.frames[1].evaluate(
        "(to) => { window.viewer.navigationState.position.value = Float32Array.from(to) }", where
    )
    page.wait_for_timeout(800)


def test_both_sides_in_one_piece_split_it_and_an_undo_mends_it(page: Page) -> None:
    piece = str(block(6, 0))
    page.keyboard.press("/")
    page.keyboard.type(piece)
    page.keyboard.press("Enter")
    page.wait_for_selector('body[data-mode="look"]')
    page.keyboard.press("t")
    centre_on(page, block(6, 0))
    for side, key in (("1", "ArrowLeft"), ("2", "ArrowRight")):
        page.keyboard.press(side)
        for _ in range(5):
            page.keyboard.press(key)
        page.keyboard.press("p")
        page.wait_for_selector(f".split-side:nth-of-type({side}) li:has-text('piece {piece}')")
    page.keyboard.press("Enter")
    page.wait_for_selector(f".preview:has-text('Both sides lie in piece {piece}')")
    page.wait_for_timeout(1500)
    assert page.frames[1].evaluate(SIDE) == "2", "the sides are seen before anything is changed"
    page.keyboard.press("Enter")
    page.wait_for_selector('body[data-mode="look"]')
    (edit,) = api(page, "/api/edits?limit=1")["edits"]
    assert edit["kind"] == "supervoxel_split"
    page.keyboard.press("h")
    page.click(f'li[data-edit="{edit["id"]}"] button.undo')
    page.wait_for_selector(f'li.undone[data-edit="{edit["id"]}"]')
    page.keyboard.press("Escape")
    assert piece in owner(page, piece)["supervoxels"]
    page.keyboard.press("Escape")
    page.wait_for_selector('body[data-mode="join"]')


def look_at(page: Page, supervoxel: int) -> None:
    """Looks for a block by its ID, and has it in the middle."""
    page.keyboard.press("/")
    page.keyboard.type(str(supervoxel))
    page.keyboard.press("Enter")
    page.wait_for_selector('body[data-mode="look"]')
    centre_on(page, supervoxel)


HERE = (
    "() => String(window.viewer.layerManager.getLayerByName('cells').layer.getValueAt("
    "window.viewer.navigationState.position.value, { pickedRenderLayer: null }))"
)


def here_becomes(page: Page, is_it: Callable[[int], bool]) -> int:
    """Waits until the supervoxel in the middle of the view is a certain one."""
    value = ""
    for _ in range(100):
        value = page.frames[1].evaluate(HERE)
        if value.isdigit() and is_it(int(value)):
            return int(value)
        page.wait_for_timeout(300)
    raise AssertionError(f"the viewer shows {value}")


def test_a_piece_that_somebody_else_splits_is_seen_in_parts_without_reloading(
    page: Page, browser: Any, site: Site
) -> None:
    piece = block(4, 8)
    look_at(page, piece)
    here_becomes(page, lambda value: value == piece)
    context = browser.new_context(viewport=SIZE)
    other = context.new_page()
    other.set_default_timeout(60_000)
    other.goto(site.address)
    log_in(other, "ben")
    x, y, z = middle(piece)
    sides = [
        [{"supervoxel": str(piece), "point_nm": [20.0 * z, 10.0 * y, 10.0 * (x + way)]}] for way in (-5, 5)
    ]
    body = {"neuron": owner(other, str(piece))["id"], "side_a": sides[0], "side_b": sides[1]}
    edit = api(other, "/api/edits/split", {**body, "key": "split-by-ben"})
    assert edit["kind"] == "supervoxel_split" and edit["person"] == "ben"
    part = here_becomes(page, lambda value: value >= 2**62)
    page.wait_for_selector(f"#neuron-panel:has-text('#{edit['id']}')")
    look_at(other, piece)
    here_becomes(other, lambda value: value == part)
    assert api(page, f"/api/edits/{edit['id']}/undo", {"key": "undo-by-anna"})["target"] == edit["id"]
    for tab in (page, other):
        here_becomes(tab, lambda value: value == piece)
    context.close()
    page.keyboard.press("Escape")
    page.wait_for_selector('body[data-mode="join"]')


def test_two_neurons_are_joined_by_hand_and_by_keys_only(page: Page) -> None:
    drawn(page)
    first, second = str(block(1, 3)), str(block(3, 9))
    assert owner(page, first)["id"] != owner(page, second)["id"]
    page.keyboard.press("j")
    page.wait_for_selector('body[data-mode="hand"]')
    for slot, piece in enumerate((first, second), 1):
        page.keyboard.press("/")
        page.keyboard.type(piece)
        page.keyboard.press("Enter")
        page.wait_for_selector(f".split-side:nth-of-type({slot}):has-text('piece {piece}')")
    page.wait_for_selector('section[data-ready="true"]')
    page.keyboard.press("c")
    page.wait_for_timeout(1500)
    orange, blue, _ = colours(page)
    page.keyboard.press("c")
    # The two are far apart: only the 3-D view has both.
    assert orange > 0.0003 and blue > 0.0003
    page.keyboard.press("Enter")
    page.wait_for_selector('body[data-mode="join"]')
    assert owner(page, first)["id"] == owner(page, second)["id"]
    (edit,) = api(page, "/api/edits?limit=1")["edits"]
    assert edit["kind"] == "merge" and edit["supervoxels"] == sorted((first, second), key=int)
    drawn(page)
    page.keyboard.press("z")
    page.wait_for_selector(".toast:has-text('was undone')")
    assert owner(page, first)["id"] != owner(page, second)["id"]


def test_a_join_of_two_cell_bodies_by_hand_says_why_not_and_is_forced(page: Page) -> None:
    drawn(page)
    bodies = [str(each) for each in BODIES]
    (forced,) = (each for each in api(page, "/api/edits?limit=500")["edits"] if each["forced"])
    api(page, f"/api/edits/{forced['id']}/undo", {"key": "apart-again"})
    look_at(page, BODIES[0])
    page.keyboard.press("j")
    page.wait_for_selector(f".split-side:nth-of-type(1):has-text('piece {bodies[0]}')")
    page.keyboard.press("/")
    page.keyboard.type(bodies[1])
    page.keyboard.press("Enter")
    page.wait_for_selector('section[data-ready="true"]')
    page.keyboard.press("Enter")
    page.wait_for_selector("#ask[open]:has-text('cell bodies 1 and 2')")
    page.keyboard.press("Escape")
    page.wait_for_selector("#ask:not([open])", state="attached")
    assert owner(page, bodies[0])["id"] != owner(page, bodies[1])["id"] and now(page, "mode") == "hand"
    for _ in range(20):
        page.keyboard.press("Enter")
        page.wait_for_timeout(500)
        if page.locator("#ask[open]").count():
            break
    for words in ("would join two cell bodies", "Two cell bodies in one neuron?"):
        page.wait_for_selector(f"#ask[open]:has-text('{words}')")
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Enter")
    page.wait_for_selector('body[data-mode="look"]')
    (edit,) = api(page, "/api/edits?limit=1")["edits"]
    assert edit["forced"] and edit["supervoxels"] == bodies
    assert owner(page, bodies[0])["id"] == owner(page, bodies[1])["id"]
    page.keyboard.press("Escape")


def test_what_changed_meanwhile_is_shown_again(page: Page) -> None:
    task = drawn(page)
    about = api(page, f"/api/tasks/{task}")
    parts = api(page, f"/api/neurons/{about['neurons'][0]}")["supervoxels"]
    other = next(str(block(r, 5)) for r in range(8) if str(block(r, 5)) not in parts + about["supervoxels"])
    body = {"a": about["supervoxels"][0], "b": other, "key": f"meanwhile-{task}"}
    # The page must not hear of it in another way first.
    page.route("**/api/progress*", lambda route: route.abort())
    assert api(page, "/api/edits/merge", body)["kind"] == "merge"
    page.wait_for_timeout(170)
    page.keyboard.press("n")
    page.wait_for_selector("#mode-notice:has-text('Shown again')")
    page.unroute("**/api/progress*")
    assert now(page, "task") == task
    answer(page, "n")
    sent(page)
    assert api(page, f"/api/tasks/{task}")["state"] == "settled"


def test_a_lost_lease_is_told_and_counts_for_nothing(page: Page, site: Site) -> None:
    task, before = drawn(page), counted(site)
    with sqlite3.connect(site.folder / "out/decisions.sqlite", timeout=30) as database:
        database.execute("DELETE FROM leases WHERE task = ?", (int(task),))
    answer(page, "y")
    page.wait_for_selector(".toast:has-text('lease')")
    sent(page)
    assert counted(site) == before
    drawn(page)


def test_two_tabs_have_tasks_of_their_own(page: Page, site: Site) -> None:
    other = page.context.new_page()
    other.goto(site.address)
    drawn(other)
    before = len(counted(site))
    shown = set()
    for tab in (page, other, page, other):
        shown.add(now(tab, "task"))
        answer(tab, "n")
    sent(page)
    sent(other)
    rows = counted(site)[before:]
    assert {str(task) for task, _ in rows} == shown and len(rows) == len(shown) == 4
    here, there = drawn(page), drawn(other)
    assert here != there and {int(here), int(there)} <= leased(site)
    for each in (page, other):
        each.wait_for_selector("#ahead:has-text('2 more ready')")
    assert len(leased(site)) == 6, "none of a tab's tasks is another's"
    other.close(run_before_unload=False)
    page.bring_to_front()
    for _ in range(100):
        if len(leased(site)) == 3:
            break
        page.wait_for_timeout(100)
    assert int(there) not in leased(site) and int(here) in leased(site), "those of the closed one went back"
    assert drawn(page) == here


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_server_that_ends_loses_nothing_and_does_nothing_twice(
    page: Page, site: Site, number: signal.Signals
) -> None:
    drawn(page)
    page.wait_for_selector("#ahead:has-text('2 more ready')")
    before = len(counted(site))
    shown = [now(page, "task")]
    page.wait_for_timeout(170)
    page.keyboard.press("n")
    site.end(number)
    page.wait_for_selector(f'body[data-task]:not([data-task="{shown[0]}"])')
    shown.append(now(page, "task"))
    answer(page, "n")
    page.wait_for_selector("#banner:has-text('kept in this browser')")
    kept = page.evaluate(
        "Object.keys(localStorage).filter((each) => each.startsWith('proofread/outbox/')).length"
    )
    assert kept >= 1
    site.start()
    page.wait_for_selector("#banner", state="hidden")
    sent(page)
    rows = [str(task) for task, _ in counted(site)[before:]]
    assert sorted(rows) == sorted(shown), "each once"
    third = drawn(page)
    answer(page, "n")
    sent(page)
    assert [str(task) for task, _ in counted(site)[before:]].count(third) == 1
    assert page.evaluate("localStorage.length") == 0


def test_an_answer_at_which_the_server_fails_holds_up_no_others(page: Page, site: Site) -> None:
    task, before = drawn(page), len(counted(site))
    failing = f"**/api/tasks/{task}/answer"
    page.route(failing, lambda route: route.fulfill(status=500, json={"error": "the server failed"}))
    answer(page, "n")
    other = drawn(page)
    answer(page, "n")
    page.wait_for_selector("#banner-aside:not([hidden])")
    page.click("#banner-aside")
    page.wait_for_selector(".toast:has-text('set aside')")
    sent(page)
    assert [str(each) for each, _ in counted(site)[before:]] == [other]
    page.unroute(failing)
    kept = "Object.keys(localStorage).filter((each) => each.startsWith('proofread/aside/')).length"
    assert page.evaluate(kept) == 1
    page.evaluate("localStorage.clear()")


def test_answers_that_a_closed_tab_left_arrive_with_the_next(page: Page, site: Site) -> None:
    task, before = drawn(page), len(counted(site))
    page.route("**/answer", lambda route: route.abort())
    page.wait_for_timeout(170)
    page.keyboard.press("n")
    page.wait_for_selector("#banner:not([hidden])")
    page.unroute("**/answer")
    page.evaluate("() => location.reload()")
    page.wait_for_selector("body[data-ready]")
    drawn(page)
    sent(page)
    assert [str(each) for each, _ in counted(site)[before:]] == [task]


def test_who_may_only_read_gets_no_tasks(browser: Any, site: Site) -> None:
    context = browser.new_context(viewport=SIZE)
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(site.address)
    page.fill("#login-name", "rita")
    page.fill("#login-password", "wrong")
    page.keyboard.press("Enter")
    page.wait_for_selector("#login-line:has-text('wrong')")
    page.fill("#login-password", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_selector("body[data-ready]")
    page.wait_for_selector("#panel:has-text('Reading only')")
    context.close()


ROLES = {
    "button",
    "textbox",
    "combobox",
    "link",
    "searchbox",
    "dialog",
    "alertdialog",
    "complementary",
    "Iframe",
}


def nameless(page: Page) -> list[str]:
    """Controls that a screen reader could only tell the role of."""
    tree = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    shown = [each for each in tree if not each["ignored"] and each["role"]["value"] in ROLES]
    assert shown
    return [each["role"]["value"] for each in shown if not each.get("name", {}).get("value", "").strip()]


def test_every_control_has_a_name_for_screen_readers(page: Page) -> None:
    drawn(page)
    assert nameless(page) == [], "at a task"
    for keys, where in (
        (["h"], "#history:not([hidden])"),
        (["Escape", "?"], "#help[open]"),
        (["Escape", "j"], 'body[data-mode="hand"]'),
        (["Escape", "t"], 'body[data-mode="split"]'),
    ):
        for key in keys:
            page.keyboard.press(key)
        page.wait_for_selector(where)
        assert nameless(page) == [], where
    page.keyboard.press("Escape")


def test_tab_goes_through_the_page_from_its_top(page: Page) -> None:
    drawn(page)
    page.evaluate("() => { document.activeElement.blur(); getSelection().removeAllRanges(); }")
    page.focus("#search")
    order = ["search"]
    focused = "() => document.activeElement.id || document.activeElement.textContent"
    while len(order) < 40 and order[-1] != "kinds":
        page.keyboard.press("Tab")
        order.append(page.evaluate(focused))
    buttons = [
        "context-button",
        "centre-button",
        "layout-button",
        "split-button",
        "join-button",
        "undo-button",
    ]
    answers = ["answer-accept", "answer-reject", "answer-unknown", "answer-skip"]
    wanted = ["search", "history-button", "help-button", "person", *buttons, *answers, "comment", "kinds"]
    assert [each for each in order if each in wanted] == wanted
    assert len(order) <= len(wanted) + 4, "the viewer does not hold whoever goes through the page"
    page.evaluate("() => document.activeElement.blur()")


def test_a_control_that_was_reached_by_keys_keeps_the_focus(page: Page) -> None:
    drawn(page)
    page.keyboard.press("t")
    page.wait_for_selector('body[data-mode="split"]')
    page.focus(".split-side:nth-of-type(2) > button")
    page.keyboard.press("Enter")
    page.wait_for_selector(".split-side:nth-of-type(2).active")
    assert page.evaluate("() => document.activeElement.getAttribute('aria-label')") == "Side B"
    page.evaluate("() => document.activeElement.blur()")
    page.keyboard.press("Escape")
    page.click("#split-button")
    page.keyboard.press("Enter")
    page.wait_for_selector(".toast:has-text('at least one point on each side')")
    page.keyboard.press("Escape")


def view_axis(quaternion: list[float]) -> np.ndarray:
    """Where the 3-D view looks to, x, y, z."""
    x, y, z, w = quaternion
    return np.array([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)])


@pytest.mark.parametrize(
    "other", [[0, 0, 5], [9, 0, 1], [-4, 3, 0], [7, 0, 0], [-7, 0, 0], [2, -3, 5]], ids=str
)
def test_of_two_pieces_neither_is_behind_the_other(page: Page, other: list[float]) -> None:
    one = [10.0, 20.0, 30.0]
    there = [a + b for a, b in zip(one, other, strict=True)]
    facing = "async (points) => (await import('/static/turning.js')).facing(...points)"
    quaternion = page.evaluate(facing, [one, there])
    assert np.linalg.norm(quaternion) == pytest.approx(1)
    assert view_axis(quaternion) @ other[::-1] == pytest.approx(0, abs=1e-9)
    if other[0] == 0:
        assert quaternion == [0, 0, 0, 1], "seen from the front where that will do"


def test_the_3d_view_turns_by_a_key(page: Page) -> None:
    drawn(page)
    side = "() => window.viewer.projectionOrientation.toJSON() ?? [0, 0, 0, 1]"
    page.keyboard.press("r")
    first = view_axis(page.frames[1].evaluate(side))
    seen = []
    for _ in range(4):
        page.keyboard.press("v")
        seen.append(view_axis(page.frames[1].evaluate(side)) @ first)
    assert seen == pytest.approx([0, -1, 0, 1], abs=1e-5)
    page.keyboard.press("v")
    page.keyboard.press("r")
    assert view_axis(page.frames[1].evaluate(side)) @ first == pytest.approx(1)


def test_nothing_is_asked_of_other_machines(browser: Any, site: Site) -> None:
    asked: list[str] = []
    context = browser.new_context(viewport=SIZE)
    page = context.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.set_default_timeout(60_000)
    page.goto(site.link)
    drawn(page)
    assert "token" not in page.url
    context.close()
    local = (site.address, "data:", "blob:")
    assert asked and [each for each in asked if not each.startswith(local)] == []


def test_the_page_fits_a_small_laptop(page: Page) -> None:
    drawn(page)
    whole = "document.documentElement"
    sizes = page.evaluate(f"() => [{whole}.scrollWidth, {whole}.scrollHeight]")
    assert sizes == [SIZE["width"], SIZE["height"]]
    panel = page.locator("#panel").bounding_box()
    button = page.locator("#answer-skip").bounding_box()
    assert button["y"] + button["height"] < panel["y"] + panel["height"]
