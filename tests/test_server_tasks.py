"""Tasks and edits over HTTP, on a project with a real queue and a real log of edits."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from proofreading_cases import scored_edges
from served_project import EDGES, LARGE, client_of, point_nm, served

from agglomeration.decisions import write_scored_edges
from agglomeration.merging import apply_constraint
from agglomeration.runs import finish_run, start_run
from proofreading.export.comments import write_comments
from proofreading.server.served import ServedProject, open_project


@pytest.fixture
def project(tmp_path: Path) -> ServedProject:
    return served(tmp_path)


@pytest.fixture
def client(project: ServedProject) -> TestClient:
    return client_of(project, "worker")


def joins(client: TestClient, n: int = 1) -> list[dict[str, Any]]:
    tasks: list[dict[str, Any]] = client.post(f"/api/tasks/next?n={n}&kinds=join").json()["tasks"]
    return tasks


def answer(client: TestClient, task: dict[str, Any], verdict: str = "accept", **more: Any) -> Any:
    body = {
        "lease": task["lease"],
        "verdict": verdict,
        "versions": task["versions"],
        "key": f"answer-{task['id']}-{verdict}",
        **more,
    }
    return client.post(f"/api/tasks/{task['id']}/answer", json=body)


def split_body(**more: Any) -> dict[str, Any]:
    return {
        "neuron": "1",
        "side_a": [{"supervoxel": "1", "point_nm": point_nm(1)}],
        "side_b": [{"supervoxel": "2", "point_nm": point_nm(2)}],
        **more,
    }


def test_a_task_has_what_the_page_shows(client: TestClient) -> None:
    (task,) = joins(client)
    assert task["kind"] == "join" and task["state"] == "leased"
    assert all(isinstance(each, str) for each in (task["id"], *task["supervoxels"], *task["neurons"]))
    assert set(task["versions"]) == set(task["neurons"])
    assert task["until"] == pytest.approx(time.time() + 120, abs=5)
    assert task["lease_seconds"] == pytest.approx(120, abs=5)
    assert task["value_nm"] > 0 and task["seconds"] == 8 and len(task["point_nm"]) == 3
    shown = client.get(f"/api/tasks/{task['id']}").json()
    assert shown == {name: value for name, value in task.items() if name in shown}


def test_an_accepted_join_is_an_edit_and_settles_the_task(client: TestClient) -> None:
    (task,) = joins(client)
    done = answer(client, task, seconds=2.5, comment="clear").json()
    assert (done["settled"], done["edit"], done["shown_again"]) == (True, "1", False)
    assert done["gained_nm"] > 0 and done["task"]["state"] == "settled"
    about = client.get(f"/api/neurons/{task['neurons'][1]}").json()
    assert set(task["supervoxels"]) <= set(
        client.get(f"/api/neurons/{about['current'][0]}").json()["supervoxels"]
    )
    (edit,) = client.get("/api/edits").json()["edits"]
    assert (edit["id"], edit["kind"], edit["person"], edit["task"]) == ("1", "merge", "worker", task["id"])
    progress = client.get("/api/progress").json()
    assert progress["answered_by_me"] == 1 and progress["gained_by_me_nm"] == done["gained_nm"]


def test_the_same_answer_twice_counts_once(client: TestClient, project: ServedProject) -> None:
    (task,) = joins(client)
    first, second = answer(client, task), answer(client, task)
    assert first.json()["edit"] == second.json()["edit"] == "1"
    assert project.state.last_edit == 1 and client.get("/api/progress").json()["answered_by_me"] == 1


@pytest.mark.parametrize("separator", ["-", "/"])
def test_no_key_of_an_edit_is_that_of_an_answer(
    separator: str, client: TestClient, project: ServedProject
) -> None:
    (task,) = joins(client)
    elsewhere = next(each for each in ("3", "4", "5") if each not in task["supervoxels"])
    free = next(each for each in ("5", "4", "3", "1") if each not in (*task["supervoxels"], elsewhere))
    body = {"a": elsewhere, "b": free, "key": f"answer{separator}1"}
    taken = client.post("/api/edits/merge", json=body)
    assert taken.status_code == (200 if separator == "-" else 422)
    fresh = client.get(f"/api/tasks/{task['id']}").json()["versions"]
    edit = answer(client, task, versions=fresh).json()["edit"]
    (made,) = client.get("/api/edits?limit=1").json()["edits"]
    assert made["id"] == edit and made["task"] == task["id"]
    assert sorted(made["supervoxels"]) == sorted(task["supervoxels"])


def test_a_key_stands_for_one_edit_alone(client: TestClient, project: ServedProject) -> None:
    merge, key = {"a": "1", "b": "3", "key": "one-key-1"}, {"key": "one-key-1"}
    assert client.post("/api/edits/merge", json=merge).json()["id"] == "1"
    assert client.post("/api/edits/merge", json={**merge, "reason": "again"}).json()["id"] == "1"
    split = split_body(key="one-key-2")
    assert client.post("/api/edits/split", json=split).json()["id"] == "2"
    assert client.post("/api/edits/split", json=split).json()["id"] == "2"
    undo = {"key": "one-key-3"}
    assert client.post("/api/edits/1/undo", json=undo).json()["id"] == "3"
    assert client.post("/api/edits/1/undo", json=undo).json()["id"] == "3"
    others = [
        ("merge", {**merge, "b": "4"}),
        ("split", {**split, "side_b": [{"supervoxel": "2", "point_nm": point_nm(2)[:2] + [200.0]}]}),
        ("2/undo", undo),
        ("1/redo", undo),
        ("1/undo", key),
    ]
    for path, body in others:
        refused = client.post(f"/api/edits/{path}", json=body)
        assert (refused.status_code, refused.json()["kind"]) == (409, "conflict"), path
        assert "was used for edit" in refused.json()["error"]
    assert project.state.last_edit == 3


@pytest.mark.parametrize("other", [{"verdict": "reject"}, {"verdict": "unknown"}, {"force": True}], ids=str)
def test_a_key_stands_for_one_answer_alone(other: dict[str, Any], client: TestClient) -> None:
    (task,) = joins(client)
    assert answer(client, task, key="one-key-1").json()["edit"] == "1"
    refused = answer(client, task, **{"key": "one-key-1", **other})
    assert (refused.status_code, refused.json()["kind"]) == (409, "conflict")
    assert "was used for another answer" in refused.json()["error"]
    assert answer(client, task, key="one-key-1").json()["edit"] == "1"


def test_an_answer_to_what_has_changed_comes_back_with_the_task_as_it_is(client: TestClient) -> None:
    (task,) = joins(client)
    pair = {"a": task["supervoxels"][0], "b": str(LARGE if str(LARGE) not in task["supervoxels"] else 1)}
    assert client.post("/api/edits/merge", json={**pair, "key": "meanwhile"}).status_code == 200
    refused = answer(client, task)
    assert refused.status_code == 409 and refused.json()["kind"] == "conflict"
    assert "changed since" in refused.json()["error"]
    fresh = refused.json()["task"]
    assert fresh["versions"] != task["versions"]
    again = answer(client, {**task, "versions": fresh["versions"]}, key="a-second-look")
    assert again.json()["settled"] is True


def test_a_lease_can_be_kept_alive_and_given_back(client: TestClient) -> None:
    (task,) = joins(client)
    lease = {"lease": task["lease"]}
    kept = client.post(f"/api/tasks/{task['id']}/heartbeat", json=lease).json()
    assert kept["until"] >= task["until"]
    assert client.post(f"/api/tasks/{task['id']}/release", json=lease).status_code == 200
    lost = client.post(f"/api/tasks/{task['id']}/heartbeat", json=lease)
    assert lost.status_code == 410 and lost.json()["kind"] == "lease"
    assert answer(client, task).status_code == 410


def test_nobody_gets_a_task_that_is_with_somebody_else(project: ServedProject) -> None:
    first, second = client_of(project, "worker"), client_of(project, "boss")
    mine, theirs = joins(first, 2), joins(second, 20)
    assert len(mine) == 2 and len(theirs) == 2
    assert not {each["id"] for each in mine} & {each["id"] for each in theirs}
    stolen = answer(second, mine[0])
    assert stolen.status_code == 410 and project.state.last_edit == 0


def test_who_has_a_task_has_it_after_a_restart(project: ServedProject) -> None:
    client = client_of(project, "worker")
    first, second = joins(client, 2)
    answer(client, first, "reject")
    project.close()
    again = open_project(project.config, hosts=project.hosts)
    others = joins(client_of(again, "boss"), 20)
    assert second["id"] not in {each["id"] for each in others}
    assert answer(client_of(again, "worker"), second, "reject").json()["settled"]
    again.close()


def test_a_no_is_taken_back_by_whoever_gave_it_or_an_admin(project: ServedProject) -> None:
    worker, boss = client_of(project, "worker"), client_of(project, "boss")
    (task,) = joins(boss)
    answer(boss, task, "reject", comment="two cells")
    (given,) = worker.get("/api/answers").json()["answers"]
    assert (given["task"], given["verdict"], given["person"]) == (task["id"], "reject", "boss")
    assert (given["kind"], given["supervoxels"], given["comment"]) == (
        "join",
        task["supervoxels"],
        "two cells",
    )
    path, body = f"/api/answers/{given['id']}/withdraw", {"key": "back-0001", "reason": "slipped"}
    refused = worker.post(path, json=body)
    assert refused.status_code == 400 and "boss's" in refused.json()["error"]
    done = boss.post(path, json=body)
    assert done.json()["task"]["state"] == "open" and boss.post(path, json=body).json() == done.json()
    leased = worker.post(f"/api/tasks/{task['id']}/lease").json()
    assert leased["state"] == "leased" and leased["lease_seconds"] == pytest.approx(120, abs=5)
    assert boss.post(f"/api/tasks/{task['id']}/lease").status_code == 410
    assert answer(worker, leased, "reject", key="answer-of-worker").json()["settled"]
    latest = worker.get("/api/answers?by=worker").json()["answers"]
    assert [each["person"] for each in latest] == ["worker"] and latest[0]["can_be_withdrawn"]
    taken = boss.post(f"/api/answers/{latest[0]['id']}/withdraw", json={"key": "back-0002"})
    assert taken.status_code == 200, "an admin takes back what others answered"
    about = worker.get("/api/answers").json()["answers"]
    assert [each["withdrawn_by"] for each in about] == ["boss", "boss"]


def test_an_accepted_join_is_taken_back_by_its_edit_alone(client: TestClient) -> None:
    (task,) = joins(client)
    edit = answer(client, task).json()["edit"]
    (given,) = client.get("/api/answers").json()["answers"]
    refused = client.post(f"/api/answers/{given['id']}/withdraw", json={"key": "back-0001"})
    assert refused.status_code == 409 and "undo" in refused.json()["error"] and given["edit"] == edit
    assert client.post("/api/answers/99/withdraw", json={"key": "back-0002"}).status_code == 404
    assert client.post(f"/api/answers/{given['id']}/withdraw", json={"key": "x"}).status_code == 422


def test_a_comment_is_counted(client: TestClient) -> None:
    (task,) = joins(client)
    path = f"/api/tasks/{task['id']}/comments"
    assert client.post(path, json={"comment": "look at z 120"}).json()["comments"] == 1
    for words in ("", "   ", "\n", "a\0b"):
        assert client.post(path, json={"comment": words}).status_code == 422


def test_whoever_gets_a_task_next_reads_what_was_said(project: ServedProject, tmp_path: Path) -> None:
    first, second = client_of(project, "worker"), client_of(project, "boss")
    (task,) = joins(first)
    path = f"/api/tasks/{task['id']}/comments"
    assert second.get(path).json() == {"comments": []}
    first.post(path, json={"comment": "  look at z 120, =1+1 "})
    assert answer(first, task, "unknown", comment=" dark ").status_code == 200
    assert answer(first, task, "unknown", comment="a\0b").status_code == 422
    (again,) = (each for each in joins(second, 20) if each["id"] == task["id"])
    said = second.get(path).json()["comments"]
    assert again["comments"] == 2 and [(each["person"], each["words"]) for each in said] == [
        ("worker", "look at z 120, =1+1"),
        ("worker", "dark"),
    ]
    assert all(each["at"].startswith("20") for each in said)
    assert second.get("/api/tasks/1/comments").status_code == 404
    assert write_comments(project.state.database, tmp_path / "comments.csv") == 2
    with (tmp_path / "comments.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [each["words"] for each in rows] == [each["words"] for each in said]
    assert {each["task"] for each in rows} == {task["id"]} and rows[0]["kind"] == "join"
    assert [rows[0]["supervoxel_a"], rows[0]["supervoxel_b"]] == task["supervoxels"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/tasks/next?kinds=cat", 422),
        ("/api/tasks/next?n=0", 422),
        ("/api/tasks/next?n=1000", 422),
        ("/api/tasks?state=cat", 422),
        ("/api/tasks/123", 404),
        ("/api/tasks/cat", 422),
    ],
)
def test_a_wrong_question_about_tasks(path: str, status: int, client: TestClient) -> None:
    found = client.request("POST" if "next" in path else "GET", path)
    assert found.status_code == status and "\n" not in found.json()["error"]


def test_tasks_are_listed_by_what_they_are_worth(client: TestClient) -> None:
    listed = client.get("/api/tasks?kind=join&state=open").json()["tasks"]
    values = [each["value_nm"] for each in listed]
    assert len(listed) == 4 and values == sorted(values, reverse=True)


def test_a_split_is_previewed_done_undone_and_done_again(client: TestClient, project: ServedProject) -> None:
    seen = client.post("/api/edits/split/preview", json=split_body()).json()
    assert seen["parts"] == [["1"], ["2"]] and seen["edges"] == [["1", "2"]]
    assert seen["needs_supervoxel_split"] is None and project.state.last_edit == 0
    done = client.post("/api/edits/split", json=split_body(key="split-0001", reason="two cells")).json()
    assert done["kind"] == "split" and done["neurons_after"] == ["1", "2"] and done["reason"] == "two cells"
    undone = client.post(f"/api/edits/{done['id']}/undo", json={"key": "undo-0001"}).json()
    assert (undone["kind"], undone["target"]) == ("undo", done["id"])
    assert client.get("/api/neurons/1").json()["supervoxels"] == ["1", "2"]
    latest = client.get("/api/edits?limit=2").json()["edits"]
    assert [each["id"] for each in latest] == ["2", "1"] and latest[1]["undone_by"] == "2"
    assert client.post(f"/api/edits/{done['id']}/redo", json={"key": "redo-0001"}).json()["kind"] == "redo"
    assert client.get("/api/neurons/1").json()["supervoxels"] == ["1"]


def test_my_last_edit_is_found_behind_those_of_others(project: ServedProject) -> None:
    mine, theirs = client_of(project, "worker"), client_of(project, "boss")
    for number, b in enumerate(("3", "4")):
        mine.post("/api/edits/merge", json={"a": "1", "b": b, "key": f"mine-000{number}"})
    mine.post("/api/edits/2/undo", json={"key": "undo-0001"})
    for turn in range(60):
        edit = theirs.post("/api/edits/merge", json={"a": "5", "b": str(LARGE), "key": f"theirs-{turn:04d}"})
        theirs.post(f"/api/edits/{edit.json()['id']}/undo", json={"key": f"their-undo-{turn:04d}"})
    found = mine.get("/api/edits?by=worker&active=1&limit=1").json()["edits"]
    assert [each["id"] for each in found] == ["1"]
    assert [each["id"] for each in mine.get("/api/edits?by=worker").json()["edits"]] == ["3", "2", "1"]
    assert mine.get("/api/edits?by=boss&active=1").json()["edits"] == []


def test_a_point_elsewhere_than_its_supervoxel_is_refused(client: TestClient, project: ServedProject) -> None:
    elsewhere = [{"supervoxel": "1", "point_nm": point_nm(4)}]
    refused = client.post("/api/edits/split", json=split_body(key="split-0001", side_a=elsewhere))
    assert (refused.status_code, refused.json()["kind"]) == (
        422,
        "malformed",
    ) and project.state.last_edit == 0
    assert "is not at supervoxel 1" in refused.json()["error"]
    beside = [{"supervoxel": "1", "point_nm": [3 * 20.0, 120.0, 60.0]}]
    assert (
        client.post("/api/edits/split", json=split_body(key="split-0001", side_a=beside)).status_code == 200
    )


def test_an_edit_of_what_has_changed_is_refused(client: TestClient, project: ServedProject) -> None:
    merge = {"a": "1", "b": "3", "key": "merge-0001"}
    assert client.post("/api/edits/merge", json={**merge, "expected": {"1": 0, "3": 0}}).status_code == 200
    late = client.post("/api/edits/split", json=split_body(key="split-0001", expected={"1": 0}))
    assert late.status_code == 409 and late.json()["kind"] == "conflict" and project.state.last_edit == 1
    again = client.post("/api/edits/merge", json=merge)
    assert again.json()["id"] == "1", "the same key is the same edit"


def test_a_neuron_is_found_by_any_id_that_it_had(client: TestClient) -> None:
    client.post("/api/edits/merge", json={"a": "1", "b": str(LARGE), "key": "merge-0001"})
    (found,) = client.get(f"/api/search?q={LARGE}").json()["neurons"]
    assert found["id"] == "1" and found["supervoxels"] == ["1", "2", str(LARGE)]
    (by_part,) = client.get("/api/search?q=2").json()["neurons"]
    assert by_part["id"] == "1" and by_part["found_as"] == "supervoxel" and by_part["length_nm"] > 0


def test_what_the_project_is(client: TestClient) -> None:
    about = client.get("/api/project").json()
    assert about == {
        "name": "tiny",
        "voxel_size_nm": [20, 10, 10],
        "bounds": {"start": [0, 0, 0], "stop": [20, 24, 104]},
        "layers": {"image": "/data/image", "segmentation": "/data/segmentation"},
        "meshes": False,
        "lease_seconds": 120,
        "reviews": 1,
        "last_edit": 0,
        "last_voxel_edit": 0,
        "newer_agglomeration": False,
    }


def test_a_neuron_is_shown_as_it_was(client: TestClient) -> None:
    (task,) = joins(client)
    done = answer(client, task).json()
    stays, went = sorted(
        task["neurons"], key=lambda each: "version" not in client.get(f"/api/neurons/{each}").json()
    )
    then = client.get(f"/api/neurons/{went}?at=0").json()
    assert then["edit"] == "0" and then["current"] == [stays]
    assert set(then["supervoxels"]) < set(client.get(f"/api/neurons/{stays}").json()["supervoxels"])
    assert client.get(f"/api/neurons/{went}?at={done['edit']}").status_code == 404
    assert client.get(f"/api/neurons/{went}?at=2099-01-01").status_code == 404
    assert client.get(f"/api/neurons/{went}?at=lately").status_code in (400, 422)
    assert client.get("/api/edits").json()["edits"][0]["run"] == 1


def test_a_no_outlives_another_agglomeration_and_a_restart(
    client: TestClient, project: ServedProject
) -> None:
    rejected = []
    while tasks := joins(client):
        rejected += tasks
        assert answer(client, tasks[0], "reject").json()["settled"]
    assert len(rejected) == 4
    database = project.state.database
    run = start_run(database, "another", "", {})
    write_scored_edges(database, run, scored_edges([(a, b, 0.9) for a, b, _ in EDGES]))
    apply_constraint(database, run)
    finish_run(database, run)
    project.close()
    again = open_project(project.config, hosts=project.hosts)
    for task in rejected:
        a, b = map(int, task["supervoxels"])
        assert again.state.neuron_of(a) != again.state.neuron_of(b)
        assert again.queue.task(int(task["id"])).state.value == "settled"
    assert again.state.neuron_of(1) == again.state.neuron_of(2)
    again.close()


def test_a_page_hears_of_a_newer_agglomeration(client: TestClient, project: ServedProject) -> None:
    assert client.get("/api/progress").json()["newer_agglomeration"] is False
    finish_run(project.state.database, start_run(project.state.database, "another", "", {}))
    for path in ("/api/progress", "/api/project", "/api/tasks/next"):
        method = "POST" if "next" in path else "GET"
        assert client.request(method, path).json()["newer_agglomeration"] is True


def test_a_page_hears_of_edits_of_others(project: ServedProject) -> None:
    mine, theirs = client_of(project, "worker"), client_of(project, "boss")
    (task,) = joins(mine)

    def heard() -> list[tuple[int, int]]:
        path = f"/api/tasks/{task['id']}/heartbeat"
        beat = mine.post(path, json={"lease": task["lease"]}).json()
        answers = (beat, mine.get("/api/progress").json(), mine.post("/api/tasks/next").json())
        return [(each["last_edit"], each["last_voxel_edit"]) for each in answers]

    assert heard() == [(0, 0)] * 3
    theirs.post("/api/edits/merge", json={"a": "1", "b": "3", "key": "merge-0001"})
    assert heard() == [(1, 0)] * 3
    points = [{"supervoxel": "4", "point_nm": point_nm(4)} for _ in range(2)]
    points[0]["point_nm"] = [*point_nm(4)[:2], point_nm(4)[2] - 60]
    body = {"neuron": "4", "side_a": points[:1], "side_b": points[1:], "key": "split-0001"}
    assert theirs.post("/api/edits/split", json=body).json()["kind"] == "supervoxel_split"
    assert heard() == [(2, 2)] * 3
    theirs.post("/api/edits/1/undo", json={"key": "undo-0001"})
    assert heard() == [(3, 2)] * 3
    theirs.post("/api/edits/2/undo", json={"key": "undo-0002"})
    assert heard() == [(4, 4)] * 3
    news = mine.get("/api/edits?after=2").json()["edits"]
    assert [(each["id"], each["kind"]) for each in news] == [("4", "undo"), ("3", "undo")]


def test_tasks_are_leased_by_a_request_of_the_page_alone(client: TestClient) -> None:
    assert client.get("/api/tasks/next").status_code == 422, "GET changes nothing; 'next' is no number"
    refused = client.post("/api/tasks/next", headers={"X-Requested-By": ""})
    assert refused.status_code == 403 and "X-Requested-By" in refused.json()["error"]
    assert len(joins(client, 20)) == 4
