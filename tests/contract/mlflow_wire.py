"""One side of the comparison: a server that speaks MLflow's REST, asked by plain HTTP, and what it answered.

Two servers never give equal ids or times. So ids become their order of appearance (``<id 1>``), times that the
server chose are left out, and lists whose order means nothing are sorted. Of an error its status and code count,
not its words.
"""

from __future__ import annotations

import http.client
import json
import re
from urllib.parse import unquote_plus, urlencode, urlsplit

ORDERLESS = {"tags", "params", "metrics", "aliases"}
SERVER_TIMES = {
    "creation_time", "last_update_time", "creation_timestamp", "last_updated_timestamp",
    "creation_timestamp_ms", "last_updated_timestamp_ms",
}  # fmt: skip
UNSTABLE = {"workspace", "user_id", "page_token", "next_page_token", "current_stage", "model_id", "artifact_location"}
IDS = {"experiment_id", "run_id", "run_uuid", "model_id"}
BASE = "/api/2.0/mlflow/"
MADE_UP = re.compile(r"[a-z]+-[a-z]+-\d+")
"""Names that a server gives to a run that has none."""


class Wire:
    """A server and the trace of what it was asked and what it answered."""

    def __init__(self, url: str, token: str = "") -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
        self._headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        self._seen: dict[str, str] = {}
        self.trace: list[tuple[str, int, object]] = []

    def begin(self) -> None:
        """Forget the ids and the trace of the scenario before, and the connection: a server closes one that rests."""
        self._connection.close()
        self._seen, self.trace = {}, []

    def post(self, route: str, **body: object) -> dict:
        return self._ask("POST", route, body)

    def patch(self, route: str, **body: object) -> dict:
        return self._ask("PATCH", route, body)

    def delete(self, route: str, **body: object) -> dict:
        return self._ask("DELETE", route, body)

    def get(self, route: str, **query: object) -> dict:
        pairs = [(k, one) for k, v in query.items() for one in (v if isinstance(v, list) else [v])]
        return self._ask("GET", route + ("?" + urlencode(pairs) if pairs else ""), None)

    def raw(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        """Ask for any path; ids in the path are the caller's business. The status is traced, the body is not."""
        self._connection.request(method, path, body, {**self._headers, **headers})
        answer = self._connection.getresponse()
        content = answer.read()
        self.trace.append((f"{method} {self._anonymous(path)}", answer.status, None))
        return answer.status, content

    def _ask(self, method: str, route: str, body: object) -> dict:
        path = route if route.startswith("/") else BASE + route
        self._connection.request(method, path, None if body is None else json.dumps(body), self._headers)
        answer = self._connection.getresponse()
        content = answer.read()
        try:
            found = json.loads(content or b"{}")
        except ValueError:
            found = {"error_code": "no JSON"}
        self._learn(found)
        told = {"error_code": found.get("error_code")} if answer.status >= 400 else self._plain(found)
        plain = re.sub("page_token=[^&]+", "page_token", unquote_plus(path))
        shown = {**body, "page_token": ""} if body and "page_token" in body else body
        asked = f"{method} {self._anonymous(plain)} {self._anonymous(json.dumps(shown)) if body else ''}"
        self.trace.append((asked.strip(), answer.status, told))
        return found

    def _learn(self, value: object) -> None:
        if isinstance(value, list):
            for one in value:
                self._learn(one)
        elif isinstance(value, dict):
            for key, one in value.items():
                if key in IDS and isinstance(one, str) and one and one not in self._seen and one != "0":
                    self._seen[one] = f"<id {len(self._seen) + 1}>"
                self._learn(one)

    def _anonymous(self, text: str) -> str:
        for known in sorted(self._seen, key=len, reverse=True):
            text = re.sub(rf"(?<![0-9a-zA-Z]){re.escape(known)}(?![0-9a-zA-Z])", self._seen[known], text)
        return text

    def _plain(self, value: object, key: str = "") -> object:
        if isinstance(value, dict):
            kept = {k: v for k, v in value.items() if k not in SERVER_TIMES | UNSTABLE and not _internal(v)}
            return {k: self._plain(v, k) for k, v in sorted(kept.items())}
        if isinstance(value, list):
            plain = [self._plain(one) for one in value if not _internal(one)]
            return sorted(plain, key=repr) if key in ORDERLESS else plain
        if key == "run_name" and MADE_UP.fullmatch(str(value)):
            return "<made up>"
        return self._anonymous(value) if isinstance(value, str) else value


def _internal(value: object) -> bool:
    """Tell whether this is a tag that a server sets by itself."""
    return isinstance(value, dict) and str(value.get("key", "")).startswith(("mlflow.", "mlops."))
