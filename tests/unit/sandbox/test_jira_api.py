from __future__ import annotations

import base64
from typing import Any

import httpx2
import pytest

from receiver.sandbox import Sandbox, build_app

pytestmark = pytest.mark.anyio

CLOUD = "/jira/rest/api/3"
DATA_CENTER = "/jira/rest/api/2"


def document(text: str = "words") -> dict[str, Any]:
    paragraph = {"type": "paragraph", "content": [{"type": "text", "text": text}]}
    return {"type": "doc", "version": 1, "content": [paragraph]}


def fields(**changes: Any) -> dict[str, Any]:
    return {"project": {"key": "MIG"}, "issuetype": {"name": "Bug"}, "summary": "a plan failed", **changes}


async def create(client: httpx2.AsyncClient, base: str = CLOUD, **changes: Any) -> str:
    response = await client.post(f"{base}/issue", json={"fields": fields(**changes)})
    assert response.status_code == 201, response.text
    key: str = response.json()["key"]
    return key


async def search(client: httpx2.AsyncClient, jql: str, **more: Any) -> list[dict[str, Any]]:
    response = await client.post(f"{CLOUD}/search/jql", json={"jql": jql, **more})
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["issues"]
    return found


async def test_an_issue_can_be_created_read_and_edited(client: httpx2.AsyncClient) -> None:
    body = {
        "fields": fields(description=document(), labels=["one", "two"], priority={"name": "High"}),
        "properties": [{"key": "mtvr", "value": {"story": "s1"}}],
    }
    made = (await client.post(f"{CLOUD}/issue", json=body)).json()
    assert made["key"] == "MIG-1"
    assert made["self"].endswith(f"{CLOUD}/issue/{made['id']}")
    edit = {"fields": {"summary": "new"}, "update": {"labels": [{"add": "three"}, {"remove": "one"}]}}
    assert (await client.put(f"{CLOUD}/issue/MIG-1", json=edit)).status_code == 204
    read = (await client.get(f"{CLOUD}/issue/{made['id']}", params={"properties": "mtvr"})).json()
    assert read["fields"]["summary"] == "new"
    assert read["fields"]["labels"] == ["two", "three"]
    assert read["fields"]["priority"] == {"name": "High"}
    assert read["fields"]["description"] == document()
    assert read["properties"] == {"mtvr": {"story": "s1"}}


@pytest.mark.parametrize(
    ("base", "changes", "field"),
    [
        (CLOUD, {"summary": "x" * 256}, "summary"),
        (CLOUD, {"summary": "two\nlines"}, "summary"),
        (CLOUD, {"summary": ""}, "summary"),
        (CLOUD, {"description": "wiki text"}, "description"),
        (DATA_CENTER, {"description": document()}, "description"),
        (DATA_CENTER, {"description": "x" * 32_768}, "description"),
        (CLOUD, {"description": document("")}, "description"),
        (
            CLOUD,
            {"description": {"type": "doc", "version": 1, "content": [{"type": "text", "text": "bare"}]}},
            "description",
        ),
        (CLOUD, {"labels": ["with space"]}, "labels"),
        (CLOUD, {"priority": {"name": "Urgent"}}, "priority"),
        (CLOUD, {"issuetype": {"name": "Incident"}}, "issuetype"),
        (CLOUD, {"project": {"key": "no key"}}, "project"),
    ],
)
async def test_a_refused_field_is_named_in_the_errors(
    client: httpx2.AsyncClient, base: str, changes: dict[str, Any], field: str
) -> None:
    response = await client.post(f"{base}/issue", json={"fields": fields(**changes)})
    assert response.status_code == 400
    assert list(response.json()["errors"]) == [field]
    assert response.json()["errorMessages"] == []


async def test_a_refused_create_uses_up_a_number(client: httpx2.AsyncClient) -> None:
    await client.post(f"{CLOUD}/issue", json={"fields": fields(summary="")})
    assert await create(client) == "MIG-2"


async def test_the_workflow_goes_to_done_with_a_resolution_and_back_by_reopen(client: httpx2.AsyncClient) -> None:
    key = await create(client)
    path = f"{CLOUD}/issue/{key}/transitions"
    offered = (await client.get(path)).json()["transitions"]
    done = next(each for each in offered if each["to"]["statusCategory"]["key"] == "done")
    assert (await client.post(path, json={"transition": {"id": done["id"]}})).status_code == 204
    status = (await client.get(f"{CLOUD}/issue/{key}")).json()["fields"]
    assert (status["status"]["name"], status["resolution"]) == ("Done", {"name": "Done"})
    assert (await client.post(path, json={"transition": {"id": done["id"]}})).status_code == 400
    [reopen] = (await client.get(path)).json()["transitions"]
    assert reopen["name"] == "Reopen"
    await client.post(path, json={"transition": {"id": reopen["id"]}})
    again = (await client.get(f"{CLOUD}/issue/{key}")).json()["fields"]
    assert (again["status"]["name"], again["resolution"], again["resolutiondate"]) == ("To Do", None, None)


async def test_comments_take_a_document_in_cloud_and_text_in_data_center(client: httpx2.AsyncClient) -> None:
    key = await create(client)
    assert (await client.post(f"{CLOUD}/issue/{key}/comment", json={"body": document()})).status_code == 201
    assert (await client.post(f"{CLOUD}/issue/{key}/comment", json={"body": "text"})).status_code == 400
    assert (await client.post(f"{DATA_CENTER}/issue/{key}/comment", json={"body": "text"})).status_code == 201
    comments = (await client.get(f"{CLOUD}/issue/{key}/comment")).json()
    assert [each["body"] for each in comments["comments"]] == [document(), "text"]


async def test_clouds_search_gives_ids_only_unless_fields_are_asked_for(client: httpx2.AsyncClient) -> None:
    key = await create(client, labels=["mtvr-1"])
    jql = 'project = MIG AND labels = "mtvr-1" ORDER BY created DESC'
    [bare] = await search(client, jql)
    assert set(bare) == {"id"}
    [full] = await search(client, jql, fields=["status"])
    assert (full["key"], set(full["fields"])) == (key, {"status"})


async def test_clouds_search_pages_by_token_and_refuses_an_unbounded_query(client: httpx2.AsyncClient) -> None:
    for _ in range(3):
        await create(client)
    body = {"jql": "project = MIG", "maxResults": 2}
    first = (await client.post(f"{CLOUD}/search/jql", json=body)).json()
    assert (len(first["issues"]), first["isLast"]) == (2, False)
    rest = await client.post(f"{CLOUD}/search/jql", json={**body, "nextPageToken": first["nextPageToken"]})
    assert (len(rest.json()["issues"]), rest.json()["isLast"]) == (1, True)
    unbounded = await client.post(f"{CLOUD}/search/jql", json={"jql": "order by created"})
    assert unbounded.status_code == 400
    assert "Unbounded" in unbounded.json()["errorMessages"][0]


async def test_the_old_search_is_gone_in_cloud_and_works_in_data_center(client: httpx2.AsyncClient) -> None:
    key = await create(client)
    body = {"jql": "project = MIG", "startAt": 0}
    assert (await client.post(f"{CLOUD}/search", json=body)).status_code == 410
    found = (await client.post(f"{DATA_CENTER}/search", json=body)).json()
    assert (found["total"], found["issues"][0]["key"]) == (1, key)
    assert (await client.get(f"{DATA_CENTER}/search", params={"jql": "project = NONE"})).json()["total"] == 0


async def test_clouds_search_lags_behind_and_data_centers_does_not(
    client: httpx2.AsyncClient, sandbox: Sandbox, clock: Any
) -> None:
    sandbox.jira.search_lag_s = 30
    await create(client)
    assert await search(client, "project = MIG") == []
    assert (await client.get(f"{DATA_CENTER}/search", params={"jql": "project = MIG"})).json()["total"] == 1
    clock.now_s += 30
    assert len(await search(client, "project = MIG")) == 1


async def test_sign_in_is_demanded_and_a_revoked_token_refused_in_both_forms(sandbox: Sandbox) -> None:
    sandbox.jira.revoked.add("old")
    basic = base64.b64encode(b"bot@example.com:old").decode()
    transport = httpx2.ASGITransport(app=build_app(sandbox))
    async with httpx2.AsyncClient(transport=transport, base_url="http://sandbox") as client:
        for headers in ({}, {"Authorization": "Bearer old"}, {"Authorization": f"Basic {basic}"}):
            response = await client.get(f"{CLOUD}/myself", headers=headers)
            assert response.status_code == 401
        good = base64.b64encode(b"bot@example.com:new").decode()
        assert (await client.get(f"{CLOUD}/myself", headers={"Authorization": f"Basic {good}"})).status_code == 200


async def test_an_attachment_needs_the_header_and_the_part_named_file(client: httpx2.AsyncClient) -> None:
    key = await create(client)
    path = f"{CLOUD}/issue/{key}/attachments"
    file = {"file": ("virt-v2v.log", b"abc", "text/plain")}
    assert (await client.post(path, files=file)).status_code == 403
    allowed = {"X-Atlassian-Token": "no-check"}
    assert (await client.post(path, files={"other": file["file"]}, headers=allowed)).status_code == 400
    stored = await client.post(path, files=file, headers=allowed)
    assert [(each["filename"], each["size"]) for each in stored.json()] == [("virt-v2v.log", 3)]


async def test_a_deleted_issue_and_an_unknown_project_are_404() -> None:
    sandbox = Sandbox.new(lambda: 1.0, jira_projects=["MIG"])
    transport = httpx2.ASGITransport(app=build_app(sandbox))
    headers = {"Authorization": "Bearer t"}
    async with httpx2.AsyncClient(transport=transport, base_url="http://sandbox", headers=headers) as client:
        key = await create(client)
        assert (await client.delete(f"{CLOUD}/issue/{key}")).status_code == 204
        assert (await client.get(f"{CLOUD}/issue/{key}")).status_code == 404
        assert (await client.get(f"{CLOUD}/project/MIG")).status_code == 200
        assert (await client.get(f"{CLOUD}/project/GIM")).status_code == 404
        types = (await client.get(f"{CLOUD}/issue/createmeta/MIG/issuetypes")).json()
        assert "Bug" in [each["name"] for each in types["issueTypes"]]
