"""The REST door: signature, faults, expiry, then the handler of the path."""

import asyncio
from collections.abc import Mapping

import msgspec
from aiohttp import web

from core.venues.okx_local import account, public, trade
from core.venues.okx_local.api import DIGITS, ApiError, Params, parse_items
from core.venues.okx_local.auth import Denied, Keys, check_request
from core.venues.okx_local.exchange import Exchange
from core.venues.okx_local.faults import MAINTENANCE, Fault, Faults

_PRIVATE = account.GET | trade.GET
_SETTINGS = account.POST | trade.POST
Reply = tuple[int, bytes]


class Request(msgspec.Struct, frozen=True):
    """One request as it came: `path` behind /api/v5/, `raw` the path with its query as it was signed."""

    method: str
    path: str
    raw: str
    query: Params
    headers: Mapping[str, str]
    body: str


class Rest:
    """Answers `/api/v5/...`. `last` is when it was last asked (loop time)."""

    def __init__(self, exchange: Exchange, keys: Keys, faults: Faults) -> None:
        self._exchange, self._keys, self._faults = exchange, keys, faults
        self.last = asyncio.get_running_loop().time()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.last = asyncio.get_running_loop().time()
        path, body = request.match_info["path"], (await request.read()).decode(errors="replace")
        asked = Request(request.method, path, request.raw_path, dict(request.query), request.headers, body)
        fault = self._faults.due(f"{request.method} {path}", body)
        if fault is None:
            return _response(*self.answer(asked))
        return await self._serve_badly(request, asked, fault)

    async def _serve_badly(self, request: web.Request, asked: Request, fault: Fault) -> web.StreamResponse:
        """What a fault makes of it; see `faults`."""
        if fault.status:
            return _response(fault.status, b"<html><body>Internal error</body></html>", "text/html")
        if fault.do == "maintenance":
            return _response(503, MAINTENANCE)
        if fault.code:
            return _response(*self.answer(asked, fault))
        if fault.do == "deliver_late":
            self._faults.later(fault, lambda: self.answer(asked))
        if fault.do == "delay":
            await self._faults.hold(fault)
        if fault.do in ("deliver_late", "drop_before"):
            return _cut(request)
        status, content = self.answer(asked)
        if fault.do == "drop_reply":
            return _cut(request)
        if fault.do == "late_reply":
            await self._faults.hold(fault)
        if fault.do == "twice":
            self._faults.later(fault, lambda: self.answer(asked))
        if fault.do == "html":
            return _response(200, b"<!DOCTYPE html><html><body>Please wait...</body></html>", "text/html")
        return _response(status, b"" if fault.do == "empty" else content)

    def answer(self, asked: Request, fault: Fault | None = None) -> Reply:
        """Execute one request and write what it changed. (status, JSON)"""
        method, path, query = asked.method, asked.path, asked.query
        try:
            if fault is not None and (method == "GET" or path in _SETTINGS):
                raise ApiError(fault.code, "as asked by a test")
            if method == "GET" and path in public.GET:
                return _success(public.GET[path](self._exchange, query))
            check_request(self._keys, asked.headers, method, asked.raw, asked.body, self._exchange.server_ms())
            if method == "GET" and path in _PRIVATE:
                return _success(_PRIVATE[path](self._exchange, query))
            if method == "POST":
                return self._act(path, asked.body, asked.headers, fault)
            raise ApiError("404", f"Invalid URL: {method} {path} is not served by the local exchange", 404)
        except Denied as denied:
            return 401, msgspec.json.encode({"code": denied.code, "msg": denied.message, "data": []})
        except ApiError as error:
            return error.status, msgspec.json.encode({"code": error.code, "msg": error.message, "data": []})

    def _act(self, path: str, body: str, headers: Mapping[str, str], fault: Fault | None) -> Reply:
        items = parse_items(body)
        if path in _SETTINGS:
            reply = _success(_SETTINGS[path](self._exchange, items[0] if items else {}))
        elif path in trade.ORDERS:
            reply = self._orders(path, items, headers, fault)
        else:
            raise ApiError("404", f"Invalid URL: POST {path} is not served by the local exchange", 404)
        self._exchange.commit()
        return reply

    def _orders(self, path: str, items: list[Params], headers: Mapping[str, str], fault: Fault | None) -> Reply:
        if not 0 < len(items) <= trade.BATCH:
            raise ApiError("51111", f"Maximum {trade.BATCH} orders can be placed in bulk")
        expires = headers.get("expTime", "")
        expired = (
            path in trade.EXPIRING and expires.isdecimal() and int(expires[:DIGITS]) < self._exchange.server_ms()
        )
        rows = []
        for position, item in enumerate(items):
            if expired:
                row = trade.refusal(item, ApiError("51149", "Order timed out. Please try again."))
            elif fault is not None and fault.element in (None, position):
                row = trade.refusal(item, ApiError(fault.code, "as asked by a test"))
            else:
                row = trade.acknowledge(self._exchange, item, trade.ORDERS[path])
            rows.append(row)
        failed = sum(row["sCode"] != "0" for row in rows)
        code = "0" if not failed else "1" if failed == len(rows) else "2"
        message = (
            "" if code == "0" else "All operations failed" if code == "1" else "Bulk operation partially succeeded."
        )
        stamp = str(self._exchange.server_ms() * 1000)
        reply = {"code": code, "msg": message, "data": rows, "inTime": stamp, "outTime": stamp}
        return 200, msgspec.json.encode(reply)


def _success(rows: list[object]) -> Reply:
    return 200, msgspec.json.encode({"code": "0", "msg": "", "data": rows})


def _response(status: int, content: bytes, kind: str = "application/json") -> web.Response:
    return web.Response(status=status, body=content, content_type=kind)


def _cut(request: web.Request) -> web.StreamResponse:
    """Close the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
