"""Label Studio's HTTP interface, as far as a bridge needs it. No webhooks: they come once or not at all, so all is asked for."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import requests

from alframe.errors import ConflictError, InvalidValue, NotFound, StoreUnavailable
from alframe.hosts import is_internal
from alframe.labelling import Forbidden, Unauthenticated

__all__ = ["Service", "checked_url"]

_TIMEOUT = (10.0, 120.0)
_PAUSES = (0.5, 2.0)
"""Seconds before a reading call is tried again."""
_PAGE = 500
_FILES = 40
Json = dict[str, Any]


def checked_url(url: str) -> str:
    """`url` without a slash at its end. Raises InvalidValue unless it is a plain address of a web server."""
    parts = urlsplit(url)
    plain = parts.scheme in ("http", "https") and parts.hostname and not (parts.query or parts.fragment)
    if not plain or parts.username is not None or "\\" in url or any(character.isspace() for character in url):
        raise InvalidValue(f"url is http://HOST:PORT or https://HOST, without a user or password, got {url!r}")
    if is_internal(parts.hostname or ""):
        raise InvalidValue(f"url is not a link-local host or a metadata service, got {url!r}")
    return url.rstrip("/")


class Service:
    """One server, spoken to as the user whose token is in the environment variable `variable`. Not safe for threads.

    Reading is tried again when the connection fails; writing is not, because nobody knows whether it arrived: the bridge looks
    first what is there, and does the rest.

    Raises, in every method:
        StoreUnavailable: when the server does not answer, or fails.
        Unauthenticated, Forbidden: when the token is missing, wrong or expired, or does not allow this.
        NotFound, ConflictError: what the server says.
    """

    def __init__(self, url: str, variable: str) -> None:
        self.url, self._variable = checked_url(url), variable
        self._session = requests.Session()
        self._session.trust_env = False  # no proxies, no .netrc: what is labelled stays between these two machines
        self._session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or True
        self._bearer = ""

    def close(self) -> None:
        """Close connections; the next call opens them again."""
        self._session.close()

    def get(self, path: str, **query: Any) -> Any:
        """What is at `path`."""
        return self._ask("GET", path, params=query)

    def post(self, path: str, body: Any, **query: Any) -> Any:
        """Create something."""
        return self._ask("POST", path, json=body, params=query)

    def patch(self, path: str, body: Json) -> Any:
        """Change something."""
        return self._ask("PATCH", path, json=body)

    def upload(self, project: int, pictures: Mapping[str, bytes]) -> None:
        """Store PNG files with a project under their names, without making tasks of them."""
        names = list(pictures)
        for first in range(0, len(names), _FILES):
            part = names[first : first + _FILES]
            files = [(name, (name, pictures[name], "image/png")) for name in part]
            self._ask("POST", f"/api/projects/{project}/import", files=files, params={"commit_to_project": "false"})

    def uploads(self, project: int) -> dict[str, str]:
        """By the name that was uploaded: the path that tasks refer to a file by."""
        found = self.get(f"/api/projects/{project}/file-uploads", all="true")
        return {one["file"].rpartition("/")[2].partition("-")[2]: f"/data/{one['file']}" for one in found}

    def projects(self) -> Iterator[Json]:
        """All projects that this user sees."""
        page = 1
        while True:
            found = self.get("/api/projects", page=page, page_size=100)
            yield from found["results"]
            if not found["next"]:
                return
            page += 1

    def tasks(self, project: int) -> list[Json]:
        """All tasks of a project, without what they were annotated with."""
        found: dict[int, Json] = {}
        page = 1
        while True:
            answer = self.get("/api/tasks", project=project, page=page, page_size=_PAGE)
            found |= {one["id"]: one for one in answer["tasks"]}
            if len(answer["tasks"]) < _PAGE or len(found) >= answer["total"]:
                return list(found.values())
            page += 1

    def import_tasks(self, project: int, tasks: Sequence[Json]) -> None:
        """Add tasks with their predictions."""
        self.post(f"/api/projects/{project}/import", list(tasks), return_task_ids="true")

    # -- one call ------------------------------------------------------------------------------------------------------

    def _ask(self, method: str, path: str, **content: Any) -> Any:
        for pause in (*_PAUSES, None):
            try:
                answer = self._send(method, path, **content)
                if answer.status_code == 401 and self._bearer:  # an access token lives for minutes
                    self._bearer = ""
                    answer = self._send(method, path, **content)
            except requests.RequestException as error:
                if method != "GET" or pause is None:
                    raise StoreUnavailable(
                        f"Label Studio at {self.url} does not answer ({type(error).__name__}); what is there stays there, try again"
                    ) from error
            else:
                if answer.status_code < 500 or method != "GET" or pause is None:
                    return self._read(method, path, answer)
            time.sleep(pause)
        raise AssertionError("the last try returns or raises")

    def _send(self, method: str, path: str, **content: Any) -> requests.Response:
        headers = {"Authorization": self._authorization()}
        return self._session.request(
            method, self.url + path, headers=headers, timeout=_TIMEOUT, allow_redirects=False, **content
        )

    def _authorization(self) -> str:
        """A legacy token as it is; a personal access token (a JSON web token) is exchanged for one that lives for minutes."""
        token = os.environ.get(self._variable, "").strip()
        if not token:
            raise Unauthenticated(
                f"set {self._variable} to a token of Label Studio (Account & Settings: a personal access token or a legacy token)"
            )
        if token.count(".") != 2:
            return f"Token {token}"
        if not self._bearer:
            answer = self._session.post(
                f"{self.url}/api/token/refresh", json={"refresh": token}, timeout=_TIMEOUT, allow_redirects=False
            )
            self._bearer = str(self._read("POST", "/api/token/refresh", answer)["access"])
        return f"Bearer {self._bearer}"

    def _read(self, method: str, path: str, answer: requests.Response) -> Any:
        status = answer.status_code
        if status == 401:
            raise Unauthenticated(
                f"Label Studio at {self.url} refuses the token in {self._variable} ({_detail(answer)}); make a new one under "
                "Account & Settings, and look whether legacy tokens are allowed there"
            )
        said = f"Label Studio at {self.url}: {method} {path}: {status} {_detail(answer)}"
        if 300 <= status < 400:
            where = answer.headers.get("Location", "")
            raise InvalidValue(f"{said}: it sends us to {where[:200]}; set the oracle's url to where the server is")
        if status == 403:
            raise Forbidden(f"{said}: this user may not do that in Label Studio")
        if status == 404:
            raise NotFound(said)
        if 400 <= status < 500:
            raise ConflictError(said)
        if status >= 500:
            raise StoreUnavailable(said)
        if status == 204 or not answer.content:
            return None
        try:
            return answer.json()
        except requests.JSONDecodeError as error:
            raise StoreUnavailable(f"{said}: this is no Label Studio, or another version of it") from error


def _detail(answer: requests.Response) -> str:
    try:
        found = answer.json()
    except requests.JSONDecodeError:
        return answer.reason or ""
    if not isinstance(found, dict):
        return str(found)[:300]
    return str(found.get("validation_errors") or found.get("detail") or "")[:300]
