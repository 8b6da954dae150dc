"""Which requests are answered: those that only read, from this machine or with the token."""

import http.client
import re

import pytest

from cifarsweep.dashboard.access import GuessLimiter
from cifarsweep.dashboard.server import check_access
from cifarsweep.errors import DashboardError

TOKEN = "s3cret/ +&=?#%\u00e9"  # noqa: S105
QUOTED = "s3cret%2F%20%2B%26%3D%3F%23%25%C3%A9"


@pytest.fixture
def guarded(serve, url):
    return serve(url, token=TOKEN)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"])
def test_nothing_but_reading_is_possible(serve, url, method):
    client = serve(url)

    for path in ("/", "/demo.html", "/events"):
        answer = client.ask(path, method)
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


def test_head_tells_what_get_would(serve, url):
    client = serve(url)

    for path in ("/", "/demo.html", "/plotly.min.js", "/live.js", "/events"):
        answer = client.ask(path, "HEAD")
        assert (answer.status, answer.text) == (200, "")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "[::1]:8080", "[::1]"])
def test_the_names_of_this_machine_are_answered(serve, url, host):
    assert serve(url).ask("/", Host=host).status == 200


@pytest.mark.parametrize(
    "host", ["evil.test", "evil.test:8080", "localhost.evil.test", "127.0.0.1.evil.test", "[::2]", ""]
)
def test_a_name_that_was_bent_to_this_machine_is_refused(serve, url, host):
    client = serve(url)

    for path in ("/", "/demo.html", "/events", "/plotly.min.js"):
        answer = client.ask(path, Host=host)
        assert answer.status == 400 and "demo" not in answer.text


def test_no_answer_may_be_read_by_or_shown_in_another_site(serve, url):
    client = serve(url)

    for path in ("/", "/demo.html", "/plotly.min.js", "/nothing"):
        headers = client.ask(path, Origin="http://evil.test").headers
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert not any(name.startswith("access-control") for name in headers)


def test_without_the_token_nothing_is_told(guarded):
    for path in ("/", "/demo.html", "/events", "/plotly.min.js", "/?token=wrong", "/?token=", "/nothing"):
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Cookie": f"cifarsweep-{guarded.port}=wrong"}):
            answer = guarded.ask(path, **headers)
            assert answer.status == 401 and "demo" not in answer.text, path


def test_programs_send_the_token_in_a_header_under_any_name_of_the_host(guarded):
    bearer = f"Bearer {TOKEN}".encode("latin-1").decode("latin-1")

    assert guarded.ask("/demo.html", Authorization=bearer, Host="gpu7.example").status == 200


def test_a_browser_gives_the_token_once_and_has_a_cookie_that_scripts_and_other_sites_lack(guarded):
    answer = guarded.ask(f"/demo.html?token={QUOTED}&x=1")

    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie
    assert "s3cret" not in cookie + answer.text
    assert re.search(r'http-equiv="refresh" content="0; url=/demo.html\?x=1"', answer.text)
    assert guarded.ask("/demo.html", Cookie=cookie.partition(";")[0]).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "//evil.test/",
        "/%5Cevil.test",
        "/%09/evil.test",
        "/%09%5Cevil.test",
        "/%0A/evil.test",
        "/%0D%0A/evil.test",
        "/%20/evil.test",
        "/%00/evil.test",
        "/%2F%2Fevil.test",
        "///evil.test",
        "/./%2Fevil.test",
        "/x/%2E%2E//evil.test",
        "/;//evil.test",
        "/%E3%80%82/evil.test",
        "/@evil.test",
        "/https:evil.test",
        "/%22%3E%3Cscript%3E",
    ],
)
def test_the_token_leads_to_no_other_machine(guarded, path):
    answer = guarded.ask(f"{path}?token={QUOTED}&next=//evil.test&u=javascript:x")

    assert re.search(r'content="0; url=(/[^"]*)"', answer.text)[1] == "/?next=%2F%2Fevil.test&amp;u=javascript%3Ax"
    assert "<script>" not in answer.text


@pytest.mark.parametrize("path", ["/", "/demo.html", "/a-b_c.1.html", "/caf%C3%A9.html", "/_index.html"])
def test_the_token_leads_to_the_page_that_was_asked_for(guarded, path):
    assert f'content="0; url={path}"' in guarded.ask(f"{path}?token={QUOTED}").text


def test_who_guesses_has_to_wait_even_with_the_right_token_but_not_with_a_cookie(guarded):
    cookie = guarded.ask(f"/?token={QUOTED}").headers["set-cookie"].partition(";")[0]
    for number in range(21):
        given = {"Authorization": f"Bearer guess-{number}"} if number % 2 else {}
        assert guarded.ask("/" if given else f"/?token=guess-{number}", **given).status == 401

    answer = guarded.ask(f"/?token={QUOTED}")

    assert answer.status == 429 and int(answer.headers["retry-after"]) > 0 and "try again in" in answer.text
    assert guarded.ask("/demo.html").status == 401
    assert guarded.ask("/demo.html", Cookie=cookie).status == 200


def test_the_wait_doubles_and_is_each_networks_own():
    now = [0.0]
    guesses = GuessLimiter(lambda: now[0])
    waits = []
    for _ in range(40):
        guesses.record("2001:db8::1")
        waits.append(guesses.wait_s("2001:db8::2"))

    assert waits[:23] == [*[0] * 20, 2, 4, 8] and waits[-1] == 3600
    assert guesses.wait_s("2001:db8:0:1::1") == guesses.wait_s("192.0.2.1") == guesses.wait_s("not an address") == 0
    now[0] = 3600.0
    assert guesses.wait_s("2001:db8::1") == 0
    guesses.forget("2001:db8::3")
    guesses.record("2001:db8::1")
    assert guesses.wait_s("2001:db8::1") == 0


def test_no_more_addresses_are_remembered_than_there_is_room_for(monkeypatch):
    monkeypatch.setattr("cifarsweep.dashboard.access._MOST_ADDRESSES", 3)
    guesses = GuessLimiter(lambda: 0.0)
    for number in range(10):
        for _ in range(21):
            guesses.record(f"192.0.2.{number}")

    assert [guesses.wait_s(f"192.0.2.{number}") > 0 for number in range(10)] == [False] * 7 + [True] * 3


@pytest.mark.parametrize("token", ["a", "12345", "aaaaaaaaaaaaaaaa", "abababababab"])
def test_a_token_that_is_guessed_at_once_is_refused(token):
    with pytest.raises(DashboardError, match="too easy to guess; give 6 characters or more"):
        check_access("0.0.0.0", token)  # noqa: S104


def test_cookies_and_queries_of_any_bytes_are_refused_in_peace(guarded):
    for raw in (b"\xff\xfe", b"=", b'a="', b"\xf0\x9f" * 2000):
        connection = http.client.HTTPConnection("127.0.0.1", guarded.port, timeout=60)
        connection.putrequest("GET", "/?token=%FF%00")
        connection.putheader("Cookie", raw)
        connection.putheader("Authorization", b"Bearer \xff" + raw)
        connection.endheaders()
        assert connection.getresponse().status == 401
        connection.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "gpu7.example", ""])
def test_other_machines_need_a_token(host):
    with pytest.raises(DashboardError, match="--token"):
        check_access(host, None)
    check_access(host, "s3cret")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_this_machine_needs_none(host):
    check_access(host, None)
    with pytest.raises(DashboardError, match="empty"):
        check_access(host, " ")
