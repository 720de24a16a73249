"""Who may talk to the server: this machine's own pages and scripts, and holders of the token.

A web page anywhere can make its visitor's browser send requests to 127.0.0.1. Three checks stop it:
- the Host header must name this machine (a foreign name that resolves to 127.0.0.1 is refused: DNS rebinding);
- requests that change something, and the events socket, must come from our own page (Origin, Sec-Fetch-Site);
- the answer's headers forbid the browser to show, embed or script it elsewhere.
Tokens cannot be guessed in a row: after some wrong ones, an address has to wait.
Reading by an ordinary link from another site still opens the page.
"""

from __future__ import annotations

import hmac
import ipaddress
import os
import re
import secrets
import socket
import time
from functools import cached_property
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from webui.refusal import RefusedError
from webui.settings import Settings

SECRET_BYTES = 32
SAFE_METHODS = {"GET", "HEAD"}
LOOPBACK_NAMES = {"localhost", "127.0.0.1", "::1"}
HOST_PATTERN = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<name>[^:\[\]/@\s]+))(?::[0-9]{1,5})?")

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
# Everything from this server only, and nothing inline.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Guesses:
    """Wrong tokens by address: a few at once are typing errors, then one every few seconds is looked at."""

    AT_ONCE = 10
    PAUSE = 6.0  # seconds until one more is looked at
    MOST_ADDRESSES = 10_000

    def __init__(self) -> None:
        self._full_at: dict[str, float] = {}  # when an address may try AT_ONCE again

    def are_too_many(self, client: str) -> bool:
        """Whether the next token from an address is not looked at."""
        return self._full_at.get(client, 0.0) - time.monotonic() > (self.AT_ONCE - 1) * self.PAUSE

    def count(self, client: str) -> None:
        """A token from an address was wrong."""
        now = time.monotonic()
        if len(self._full_at) >= self.MOST_ADDRESSES:
            self._full_at = {address: at for address, at in self._full_at.items() if at > now}
        self._full_at[client] = max(self._full_at.get(client, now), now) + self.PAUSE


def _bearer(headers: Headers) -> str:
    """The token of the header Authorization; empty where it has none."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    return given.strip() if scheme.lower() == "bearer" else ""


def _secret(settings: Settings) -> bytes:
    """32 random bytes, the same after a restart; other ones where they cannot be kept."""
    if settings.token is None:
        return b""
    path = settings.outputs / ".webui" / "secret"
    try:
        if path.is_file() and len(kept := path.read_bytes()) == SECRET_BYTES:
            return kept
        path.parent.mkdir(parents=True, exist_ok=True)
        secret = secrets.token_bytes(SECRET_BYTES)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(secret)
        return secret
    except OSError:
        return secrets.token_bytes(SECRET_BYTES)


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.settings = app, settings
        self.cookie = f"dualdiffusion_token_{settings.port}"
        self.guesses = Guesses()
        self.names = LOOPBACK_NAMES | {settings.host.lower()}
        if settings.public_host:
            match = HOST_PATTERN.fullmatch(settings.public_host)
            self.names.add((match["v6"] or match["name"]) if match else settings.public_host)
        self.any_address = settings.host in ("0.0.0.0", "::")
        if self.any_address:
            self.names.add(socket.gethostname().lower())

    @cached_property
    def session(self) -> str:
        """The value of visitors' cookies.

        It follows from the token and a secret, so that nobody can guess it, and visitors who have it are let in while
        somebody else at their address tries tokens.
        """
        return hmac.new(_secret(self.settings), (self.settings.token or "").encode(), "sha256").hexdigest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        scope = self._below_prefix(scope)
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if refusal is None and scope["type"] == "http" and scope["path"] == self.settings.prefix:
            await self._add_slash(scope, receive, send)
            return
        if refusal is None and self.settings.token is not None and not self._has_cookie(headers):
            given = self._given(scope, headers)
            refusal = self._judge(scope, given)
            if refusal is None and not _bearer(headers):
                await self._welcome(scope, receive, send)
                return
        if refusal is None:
            await self._serve(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": refusal.error})
        else:
            await self._send_refusal(refusal, scope, receive, send)

    def _below_prefix(self, scope: Scope) -> Scope:
        """The scope with the prefix in its path, as ASGI has it, whether a proxy has taken it away or not."""
        prefix, path = self.settings.prefix, scope["path"]
        if not prefix:
            return scope
        if path != prefix and not path.startswith(f"{prefix}/"):
            path = prefix + path
        return {**scope, "root_path": prefix, "path": path}

    def _is_page(self, scope: Scope) -> bool:
        return scope["path"] == f"{self.settings.prefix}/" and scope.get("method") in SAFE_METHODS

    def _refusal(self, scope: Scope, headers: Headers) -> RefusedError | None:
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or not self.is_own_name(host):
            return RefusedError(
                400, "the Host header does not name this server; open it as http://127.0.0.1 or localhost"
            )
        if scope["type"] == "http" and scope["method"] in SAFE_METHODS:
            return None
        # Scripts such as curl send neither header; browsers send at least one with every request that matters here.
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if site == "same-origin":
            return None  # as the browser sees it, before a proxy has changed the Host header
        # What a proxy says that the browser asked for; a page of another site cannot send it without asking first.
        hosts = {host.lower(), headers.get("x-forwarded-host", host).lower(), self.settings.public_host or host.lower()}
        own = {f"{scheme}://{name}" for scheme in ("http", "https") for name in hosts}
        if (origin is not None and origin.lower() not in own) or site not in (None, "none"):
            return RefusedError(403, "requests from other sites are refused")
        return None

    def is_own_name(self, host: str) -> bool:
        """Whether a Host header names this server.

        Any port will do: forwarded ones are common, and what a rebinding attack needs is a foreign name.
        """
        match = HOST_PATTERN.fullmatch(host)
        if not match:
            return False
        name = (match["v6"] or match["name"]).lower()
        if self.any_address:
            # An address, unlike a name, cannot be pointed here by someone else's name server.
            try:
                ipaddress.ip_address(name)
            except ValueError:
                return name in self.names
            return True
        return name in self.names

    def _matches(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(errors="replace"), (self.settings.token or "").encode())

    def _has_cookie(self, headers: Headers) -> bool:
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            return False
        return cookie is not None and hmac.compare_digest(cookie.value.encode(errors="replace"), self.session.encode())

    def _given(self, scope: Scope, headers: Headers) -> str | None:
        """The token that a request shows, in its header or, for the page, in its address."""
        if given := _bearer(headers):
            return given
        if scope["type"] == "http" and self._is_page(scope):
            return parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [None])[0]
        return None

    def _judge(self, scope: Scope, given: str | None) -> RefusedError | None:
        """Whether a token opens the door; None where it does."""
        client = (scope.get("client") or ("", 0))[0]
        if given is not None and self.guesses.are_too_many(client):
            return RefusedError(429, "too many wrong tokens came from this address; wait a minute and try again")
        if given is not None and self._matches(given):
            return None
        if given is not None:
            self.guesses.count(client)
        return RefusedError(401, "a token is needed: open the address with ?token=... that the server was started with")

    async def _welcome(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Remembers the token in a cookie that scripts cannot read, and takes it out of the address bar.

        Where it goes and where the cookie holds follow from the address that the browser knows, below a prefix or not.
        """
        prefix = self.settings.prefix
        response = RedirectResponse(f"{quote(prefix)}/" if prefix else "./", 303, HEADERS)
        response.set_cookie(self.cookie, self.session, httponly=True, samesite="strict", max_age=30 * 86400, path=None)
        await response(scope, receive, send)

    async def _add_slash(self, scope: Scope, receive: Receive, send: Send) -> None:
        """From /music to /music/, in words that hold whatever host and scheme the browser knows."""
        query = scope.get("query_string", b"").decode("latin-1")
        target = f"{quote(self.settings.prefix)}/" + (f"?{query}" if query else "")
        await RedirectResponse(target, 307, HEADERS)(scope, receive, send)

    async def _send_refusal(self, refusal: RefusedError, scope: Scope, receive: Receive, send: Send) -> None:
        as_text = self._is_page(scope)
        response = PlainTextResponse(refusal.error + "\n", refusal.status) if as_text else refusal.response()
        response.headers.update(HEADERS)
        await response(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                # What is no part of the page may be under a stricter one.
                headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
            await send(message)

        await self.app(scope, receive, send_with_headers)
