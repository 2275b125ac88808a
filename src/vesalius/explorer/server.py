"""The explorer's server: three addresses on the loopback, open to whoever knows the token in them and to no page of another origin."""

from __future__ import annotations

import json
import re
import secrets
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from vesalius.core.errors import VesaliusError

LOOPBACK = "127.0.0.1"
MAX_BODY = 64 * 1024
"""Bytes of a question."""
MAX_TIMEOUT = 10.0
"""Seconds that a client may take to send what it said it would."""
TOKEN_BYTES = 24
POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'"
)
"""What the page may do: run its own script, and ask where it came from."""
HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@dataclass(frozen=True, eq=False, kw_only=True)
class ServedApp:
    """What the server serves.

    Attributes:
        page: HTML, with the nonce that its script must carry.
        posts: a function from the body of a request to JSON, by the last word of its address.
    """

    page: Callable[[str], str]
    posts: Mapping[str, Callable[[bytes], Any]]


class _Refusal(Exception):
    """A request that is not answered, and why."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class LoopbackServer(ThreadingHTTPServer):
    """Listens on the loopback, from the moment that it is made.

    Args:
        app: what is served.
        port: 0 for any that is free.

    Attributes:
        token: random, in every address.
        closed: whether it answers no more, on connections either that a browser keeps open.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, app: ServedApp, port: int = 0) -> None:
        self.app, self.token, self.closed = app, secrets.token_urlsafe(TOKEN_BYTES), False
        super().__init__((LOOPBACK, port), _Handler)

    @property
    def address(self) -> str:
        """Where the page is; whoever knows it may ask."""
        return f"http://{LOOPBACK}:{self.server_port}/{self.token}/"

    @property
    def hosts(self) -> tuple[str, ...]:
        """What a browser may take this server for; a name of another site that leads here is none of them."""
        return tuple(f"{name}:{self.server_port}" for name in (LOOPBACK, "localhost"))

    def serve_in_background(self) -> threading.Thread:
        """A thread that answers until :meth:`shutdown`."""
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.1}, name="vesalius-explorer-server", daemon=True)
        thread.start()
        return thread

    def server_close(self) -> None:
        """Listen and answer no more."""
        self.closed = True
        super().server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: a client that hangs up is no news."""


class _Handler(BaseHTTPRequestHandler):
    """One request."""

    server: LoopbackServer
    server_version, sys_version = "vesalius", ""
    protocol_version = "HTTP/1.1"
    timeout = MAX_TIMEOUT

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: an address holds the token, and is not written anywhere."""

    def do_GET(self) -> None:
        self._answer(self._page)

    def do_POST(self) -> None:
        self._answer(self._post)

    def _answer(self, make: Callable[[str], tuple[str, bytes, dict[str, str]]]) -> None:
        if self.server.closed:
            self.close_connection = True
            return
        try:
            kind, body, extra = make(self._place())
            self._send(HTTPStatus.OK, kind, body, extra)
        except _Refusal as refusal:
            self._refuse(refusal.status, str(refusal))
        except VesaliusError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
        except (TimeoutError, ConnectionError):
            self.close_connection = True
        except Exception as error:
            traceback.print_exc()
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, f"unexpected {type(error).__name__}: {error}")

    def _place(self) -> str:
        """The part of the address behind the token.

        Raises:
            _Refusal: asked by another host name or origin, or without the token.
        """
        if self.headers.get_all("Host", []) not in [[host] for host in self.server.hosts]:
            raise _Refusal(HTTPStatus.FORBIDDEN, "this server answers to its own address alone")
        origin, site = self.headers.get("Origin"), self.headers.get("Sec-Fetch-Site", "none")
        if origin is not None and origin not in [f"http://{host}" for host in self.server.hosts]:
            raise _Refusal(HTTPStatus.FORBIDDEN, "a page of another origin may not ask")
        if site not in ("none", "same-origin"):
            raise _Refusal(HTTPStatus.FORBIDDEN, "a page of another site may not ask")
        found = re.fullmatch(r"/([\w-]{1,200})/(\w{0,40})", self.path, re.ASCII)
        if found is None or not secrets.compare_digest(found[1].encode(), self.server.token.encode()):
            raise _Refusal(
                HTTPStatus.NOT_FOUND, "there is nothing here; the whole address, with its token, was printed when the explorer began"
            )
        return found[2]

    def _page(self, place: str) -> tuple[str, bytes, dict[str, str]]:
        if place:
            raise _Refusal(
                HTTPStatus.METHOD_NOT_ALLOWED if place in self.server.app.posts else HTTPStatus.NOT_FOUND, "there is no such page"
            )
        nonce = secrets.token_urlsafe(TOKEN_BYTES)
        policy = {"Content-Security-Policy": POLICY.format(nonce=nonce)}
        return "text/html; charset=utf-8", self.server.app.page(nonce).encode(), policy

    def _post(self, place: str) -> tuple[str, bytes, dict[str, str]]:
        if place not in self.server.app.posts:
            raise _Refusal(HTTPStatus.NOT_FOUND, f"there is nothing to ask here; known: {', '.join(self.server.app.posts)}")
        if self.headers.get_content_type() != "application/json":  # which no page of another origin sends without asking first
            raise _Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a question is application/json")
        found = self.server.app.posts[place](self._body())
        return "application/json", json.dumps(found, allow_nan=False).encode(), {}

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") is not None:
            raise _Refusal(HTTPStatus.LENGTH_REQUIRED, "a question says how long it is (Content-Length)")
        given = self.headers.get("Content-Length", "")
        if not (given.isascii() and given.isdigit() and len(given) < 12):
            raise _Refusal(HTTPStatus.LENGTH_REQUIRED, "a question says how long it is (Content-Length)")
        if int(given) > MAX_BODY:
            raise _Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a question of {int(given):,} bytes; at most {MAX_BODY:,} are read")
        return self.rfile.read(int(given))

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        self.close_connection = True
        self._send(status, "application/json", json.dumps({"error": reason}).encode(), {"Connection": "close"})

    def _send(self, status: HTTPStatus, kind: str, body: bytes, extra: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {**HEADERS, **extra, "Content-Type": kind, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
