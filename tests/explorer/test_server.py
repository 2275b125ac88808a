"""Who may ask the explorer, and what becomes of requests that no page of ours sends."""

import http.client
import json
import re
import socket
import threading

import pytest

from tests.explorer.conftest import ask, request
from vesalius.explorer.question import MAX_BUDGET, MAX_EDITS, MAX_MASKS
from vesalius.explorer.server import MAX_BODY, LoopbackServer, ServedApp


def refusal(*args, **kwargs):
    status, _, text = request(*args, **kwargs)
    return status, json.loads(text)["error"]


def origin(explorer):
    return re.match(r"http://[\d.]+:\d+", explorer.address)[0]


def test_the_address_is_of_the_loopback_and_holds_a_token_of_its_own(table, gallery):
    token = re.fullmatch(r"http://127\.0\.0\.1:\d+/([\w-]{32})/", table.address)
    assert token and token[1] not in gallery.address


@pytest.mark.parametrize(
    "place", ["", "x/", "/", "../", "%2e%2e/", "a" * 32 + "/", "\N{LATIN SMALL LETTER A WITH ACUTE}".encode().hex() + "/"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_without_the_token_there_is_nothing(table, place, method):
    status, text = refusal(table, "answer" if place else "", method=method, address=f"{origin(table)}/{place}")
    assert status == 404 and "whole address" in text and table.address.split("/")[-2] not in text


def test_a_token_of_another_length_or_case_is_none(table):
    token = table.address.split("/")[-2]
    for wrong in (token[:-1], token + "A", token.swapcase(), token[:-1] + ("A" if token[-1] != "A" else "B")):
        assert refusal(table, address=f"{origin(table)}/{wrong}/")[0] == 404


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1", "127.0.0.1:1", "localhost", "0.0.0.0", ""])
def test_another_host_name_is_refused(table, host):
    """A name of another site that leads to this machine (DNS rebinding) comes with that name."""
    for method in ("GET", "POST"):
        assert refusal(table, "" if method == "GET" else "answer", method=method, headers={"Host": host})[0] == 403


def test_localhost_is_this_server_too(table):
    port = origin(table).rpartition(":")[2]
    assert request(table, "", method="GET", headers={"Host": f"localhost:{port}"})[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://127.0.0.1"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_page_of_another_origin_may_not_ask(table, headers):
    for place in ("answer", "cancel"):
        status, text = refusal(table, place, headers=headers)
        assert status == 403 and "another" in text


def test_the_page_itself_may(table):
    status, _, text = request(table, headers={"Origin": origin(table), "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"})
    assert status == 200 and json.loads(text)["models"]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "text/plain; application/json"])
def test_what_a_form_can_send_is_refused(table, kind):
    """A form of another page can send these kinds without asking first."""
    assert refusal(table, headers={"Content-Type": kind})[0] == 415


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE", "BREW"])
def test_unknown_methods_are_refused(table, method):
    status, headers, text = request(table, method=method)
    assert status == 501 and "Access-Control-Allow-Origin" not in headers and table.address.split("/")[-2] not in text


def test_unknown_places_are_refused(table):
    assert refusal(table, "nothing")[0] == refusal(table, "nothing", method="GET")[0] == 404
    assert refusal(table, "answer", method="GET")[0] == 405
    assert refusal(table, "answer?x=1")[0] == refusal(table, "answer/x")[0] == 404


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'"row"',
        b"{" * 60_000,
        b'{"a":' * 10_000,
        b'{"row": NaN}',
        b'{"fill": Infinity}',
        b'{"fill": 1e999}',
        b'{"fill": 1' + b"0" * 400 + b"}",
        b'{"row": 1' + b"0" * 5000 + b"}",
        b'{"row": true}',
        b'{"row": "0"}',
        b'{"row": -1}',
        b'{"row": 1.5}',
        b'{"row": 7}',
        b'{"what": 1}',
        b'{"method": 3}',
        b'{"method": null}',
        b'{"target": "' + b"a" * 401 + b'"}',
        b'{"edits": [1]}',
        b'{"edits": {"-1": 1}}',
        b'{"edits": {"x": 1}}',
        b'{"edits": {"0": "1"}}',
        b'{"edits": {"0": null}}',
        b'{"edits": {"4": 1}}',
        b'{"masks": 3}',
        b'{"masks": [[0, 0, 1]]}',
        b'{"masks": [[0, 0, 0, 1]]}',
        b'{"masks": [[0, 0, 1, 1]]}',
        b'{"audit": "some"}',
        b'{"effects": "yes"}',
        b'{"budget": 1}',
        f'{{"budget": {MAX_BUDGET + 1}}}'.encode(),
        json.dumps({"edits": {str(place): 0 for place in range(MAX_EDITS + 1)}}).encode(),
        json.dumps({"masks": [[0, 0, 1, 1]] * (MAX_MASKS + 1)}).encode(),
        b'{"text": 1}',
    ],
    ids=lambda body: body[:24].decode("latin1"),
)
def test_malformed_questions_are_refused_in_a_sentence(table, body):
    status, text = refusal(table, body=body)
    assert status == 400 and 10 < len(text) < 600 and "Traceback" not in text and "unexpected" not in text


def test_a_question_that_is_too_large_is_not_read(table):
    status, text = refusal(table, body=b" " * (MAX_BODY + 1))
    assert status == 413 and "65,536" in text
    assert request(table, body=b"{}" + b" " * (MAX_BODY - 2))[0] == 200


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "\u0661".encode().decode("latin1"), "9" * 30])
def test_a_length_that_is_none_is_refused(table, length):
    host = origin(table).removeprefix("http://")
    name, port = host.split(":")
    path = table.address.removeprefix(origin(table))
    with socket.create_connection((name, int(port)), timeout=10) as line:
        head = f"POST {path}answer HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        line.sendall(head.encode("latin1"))
        assert b" 411 " in line.recv(200)


def test_the_page_runs_its_own_script_alone(table):
    status, headers, text = request(table, "", method="GET")
    policy = headers["Content-Security-Policy"]
    nonce = re.search(r"script-src 'nonce-([\w-]+)'", policy)[1]
    scripts = re.findall(r"<script\b[^>]*>", text)
    assert status == 200 and scripts == ['<script type="application/json" id="choices">', f'<script nonce="{nonce}">']
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe-inline" not in policy.split("style-src")[0]
    assert headers["Cache-Control"] == "no-store" and headers["X-Content-Type-Options"] == "nosniff"
    assert not re.search(r"""(?:src|href|url\()\s*=?\s*["']?(?:https?:)?//""", text), "nothing comes from elsewhere"
    assert request(table, "", method="GET")[1]["Content-Security-Policy"] != policy


def test_text_of_the_user_is_escaped(table):
    page = request(table, "", method="GET")[2]
    assert "<img src=x" not in page and "alert(2)</script>" not in page and "<b>length</b>" not in page
    found = ask(table, row=1, target="<img src=x onerror=alert(1)>", effects=True, audit="method")
    for model in found["models"]:
        html = model["scores"] + "".join(part["html"] for part in model["parts"])
        assert "&lt;img src=x" in html and "&lt;b&gt;length" in html and "b &amp; c" in html
        assert "<img" not in html and "<script" not in html and "<b>length" not in html
        assert not re.search(r"\son\w+\s*=", re.sub(r"&lt;.*?&gt;", "", html))


def test_an_error_of_ours_is_told_and_the_server_goes_on(capsys):
    def fail(body):
        raise ZeroDivisionError("no <b>way</b>")

    with LoopbackServer(ServedApp(page=lambda nonce: "page", posts={"answer": fail})) as server:
        thread = server.serve_in_background()
        for _ in range(2):
            status, text = refusal(server)
            assert status == 500 and text == "unexpected ZeroDivisionError: no <b>way</b>"
        server.shutdown()
        thread.join()
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_closed_explorer_listens_no_more():
    server = LoopbackServer(ServedApp(page=lambda nonce: "page", posts={}))
    thread = server.serve_in_background()
    kept = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    address = "/" + server.address.split("/", 3)[3]
    kept.request("GET", address)
    assert kept.getresponse().read() == b"page"
    server.shutdown()
    server.server_close()
    with pytest.raises((http.client.HTTPException, OSError)):  # on the connection that is open already
        kept.request("GET", address)
        kept.getresponse()
    thread.join(5)
    assert not thread.is_alive() and thread not in threading.enumerate()
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", server.server_port), timeout=2)
