"""Who may talk to the server: this machine's own pages and scripts, and holders of the token.

A web page anywhere can make its visitor's browser send requests to 127.0.0.1. Three checks stop it:
- the Host header must name this machine (a foreign name that resolves to 127.0.0.1 is refused: DNS rebinding);
- requests that change something, and the events socket, must come from our own page (Origin, Sec-Fetch-Site);
- the answer's headers forbid the browser to show, embed or script it elsewhere.
Reading by an ordinary link from another site still opens the page.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
import socket
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from webui.refusal import RefusedError
from webui.settings import Settings

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


def content_security_policy(nonce: str) -> str:
    """Everything from this server only; `nonce` admits the one inline style sheet that wavesurfer.js makes."""
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; img-src 'self'; media-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.settings = app, settings
        self.cookie = f"dualdiffusion_token_{settings.port}"
        self.names = LOOPBACK_NAMES | {settings.host.lower()}
        self.any_address = settings.host in ("0.0.0.0", "::")
        if self.any_address:
            self.names.add(socket.gethostname().lower())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if refusal is None and not self._has_token(scope, headers):
            if self._token_in_query(scope):
                await self._welcome(scope, receive, send)
                return
            refusal = RefusedError(
                401, "a token is needed: open the address with ?token=... that the server was started with"
            )
        if refusal is None:
            await self._serve(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": refusal.error})
        else:
            await self._send_refusal(refusal, scope, receive, send)

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
        own = {f"http://{host.lower()}", f"https://{host.lower()}"}
        if (origin is not None and origin.lower() not in own) or site not in (None, "same-origin", "none"):
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

    def _has_token(self, scope: Scope, headers: Headers) -> bool:
        if self.settings.token is None:
            return True
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._matches(given.strip()):
            return True
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            return False
        return cookie is not None and self._matches(cookie.value)

    def _token_in_query(self, scope: Scope) -> bool:
        given = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [""])[0]
        return scope["type"] == "http" and scope["method"] == "GET" and scope["path"] == "/" and self._matches(given)

    async def _welcome(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Remembers the token in a cookie that scripts cannot read, and takes it out of the address bar."""
        response = RedirectResponse("/", 303, HEADERS)
        response.set_cookie(
            self.cookie, self.settings.token or "", httponly=True, samesite="strict", max_age=30 * 86400
        )
        await response(scope, receive, send)

    async def _send_refusal(self, refusal: RefusedError, scope: Scope, receive: Receive, send: Send) -> None:
        as_text = scope["path"] == "/" and scope["method"] == "GET"
        response = PlainTextResponse(refusal.error + "\n", refusal.status) if as_text else refusal.response()
        response.headers.update(HEADERS)
        await response(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        nonce = secrets.token_urlsafe(16)
        scope.setdefault("state", {})["nonce"] = nonce

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers["Content-Security-Policy"] = content_security_policy(nonce)
            await send(message)

        await self.app(scope, receive, send_with_headers)
