"""Cuts, joins of two cell bodies and loose ends in a real browser, by keys: all kinds besides joins."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from page_project import Site, block, free_port, write_project
from test_page_proofreading import (
    CHROMIUM,
    FLAGS,
    SIZE,
    answer,
    api,
    centre_on,
    drawn,
    log_in,
    now,
    owner,
    sent,
    sync_api,
)

pytestmark = pytest.mark.slow
Page = Any
SUSPECTED = block(5, 5)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    found = Site(tmp_path_factory.mktemp("kinds"), free_port())
    how = {
        "settings": "min_length_nm: 0 min_probability: 0",
        # Loose ends near the sides of the volume are none of the tissue's.
        "agglomeration": "resegmentation { analysis_radius_nm: 20 }",
    }
    write_project(found.folder, found.port, bodies_certainty=0.7, suspected=SUSPECTED, **how)
    found.start()
    yield found
    found.end()


@pytest.fixture(scope="module")
def page(site: Site) -> Iterator[Page]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = browser.new_context(viewport=SIZE)
        context.set_default_timeout(30_000)
        found = context.new_page()
        found.goto(site.address)
        log_in(found, "anna")
        yield found
        browser.close()


def come_to(page: Page, kinds: str, selector: str) -> str:
    """Skips tasks of some kinds until one is shown that a selector tells; gives its number."""
    page.select_option("#kinds", kinds)
    for _ in range(30):
        drawn(page)
        if page.query_selector(selector):
            return now(page, "task")
        answer(page, "s")
    raise AssertionError(f"no task shows {selector}")


def latest(page: Page) -> Any:
    return api(page, "/api/edits?limit=1")["edits"][0]


def test_a_cut_by_hand_settles_its_task_until_it_is_undone(page: Page) -> None:
    task = come_to(page, "merger", "#answer-accept:has-text('cut by hand')")
    page.wait_for_timeout(170)
    page.keyboard.press("y")
    page.wait_for_selector('body[data-mode="split"]')
    centre_on(page, SUSPECTED)
    for side, key in (("1", "ArrowLeft"), ("2", "ArrowRight")):
        page.keyboard.press(side)
        for _ in range(5):
            page.keyboard.press(key)
        page.keyboard.press("p")
        page.wait_for_selector(f".split-side:nth-of-type({side}) li:has-text('piece {SUSPECTED}')")
    page.keyboard.press("Enter")
    page.wait_for_selector('section[data-preview="true"]')
    page.keyboard.press("Enter")
    page.wait_for_selector(f'body[data-task]:not([data-task="{task}"]):not([data-mode="split"])')
    sent(page)
    edit = latest(page)
    assert edit["kind"] == "supervoxel_split" and api(page, f"/api/tasks/{task}")["state"] == "settled"
    (given,) = api(page, f"/api/answers?task={task}")["answers"]
    assert (given["verdict"], given["edit"]) == ("accept", edit["id"])
    page.keyboard.press("z")
    page.wait_for_selector(".toast:has-text('was undone')")
    assert api(page, f"/api/tasks/{task}")["state"] in ("open", "leased")
    assert owner(page, str(SUSPECTED))["supervoxels"] == [str(SUSPECTED)]


def test_a_proposed_cut_is_made_by_a_key(page: Page) -> None:
    task = come_to(page, "merger", "#answer-accept:has-text('two cells: cut here')")
    pieces = api(page, f"/api/tasks/{task}")["supervoxels"]
    assert owner(page, pieces[0])["id"] == owner(page, pieces[1])["id"]
    answer(page, "y")
    sent(page)
    edit = latest(page)
    assert (edit["kind"], edit["task"]) == ("split", task)
    assert owner(page, pieces[0])["id"] != owner(page, pieces[1])["id"]


def test_a_refused_merge_is_answered_by_a_key(page: Page) -> None:
    task = come_to(page, "join,refused", 'body[data-mode="refused"]')
    answer(page, "n")
    sent(page)
    assert api(page, f"/api/tasks/{task}")["state"] == "settled"
    page.keyboard.press("z")
    page.wait_for_selector(f'body[data-task="{task}"]')
    answer(page, "n")
    sent(page)


def test_a_loose_end_goes_on_in_the_piece_that_is_pointed_at(page: Page) -> None:
    task = come_to(page, "end", 'body[data-mode="end"]')
    about = api(page, f"/api/tasks/{task}")
    mine = api(page, f"/api/neurons/{about['neurons'][0]}")["supervoxels"]
    there = next(block(3, column) for column in range(4, 9) if str(block(3, column)) not in mine)
    page.wait_for_timeout(170)
    page.keyboard.press("y")
    page.wait_for_selector(".toast:has-text('First show where it goes on')")
    centre_on(page, there)
    page.keyboard.press("p")
    page.wait_for_selector("#panel .pieces li:nth-of-type(2)")
    answer(page, "y")
    sent(page)
    edit = latest(page)
    assert (edit["kind"], edit["task"]) == ("merge", task)
    assert owner(page, str(there))["id"] == owner(page, about["supervoxels"][0])["id"]
