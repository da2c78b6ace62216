"""Python's websockets and aiohttp: takes conversations of cases_test.go as lines of JSON, and answers each with its
report, in the order in which they end. The argument names the library. It judges nothing."""

import asyncio
import base64
import hashlib
import json
import sys

NO_CODE = 1005  # a close frame without a code


def payload(message):
    data = base64.b64decode(message["data"] or "")
    return data.decode() if message["text"] else data


def heard(data):
    text = isinstance(data, str)
    raw = data.encode() if text else data
    return {"text": text, "size": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}


def pieces(data, n):
    n = max(n, 1)
    return [data[i * len(data) // n : (i + 1) * len(data) // n] for i in range(n)]


async def with_websockets(conversation, report):
    import websockets
    from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

    offer = conversation["offer"]
    extensions = None if offer is None else [
        ClientPerMessageDeflateFactory(
            server_no_context_takeover=offer.get("serverNoContextTakeover", False),
            client_no_context_takeover=offer.get("clientNoContextTakeover", False),
        )
    ]
    socket = await websockets.connect(
        conversation["url"], subprotocols=conversation["subprotocols"], compression=None,
        extensions=extensions, max_size=None, max_queue=None, ping_interval=None,
    )
    report["subprotocol"] = socket.subprotocol or ""
    report["extensions"] = socket.response_headers.get("Sec-WebSocket-Extensions", "")

    async def ping(m):
        if m["ping"]:
            # The library allows no second ping with the same payload before the answer to the first.
            await (await socket.ping(m["ping"]))
            report["pongs"].append(m["ping"])

    async def frames(m):
        parts = pieces(payload(m), m["frames"])
        for i, part in enumerate(parts):
            if i == len(parts) - 1:
                await ping(m)
            yield part

    async def send_all(messages):
        for m in messages:
            if m["frames"] > 1:
                await socket.send(frames(m))
            else:
                await ping(m)
                await socket.send(payload(m))

    messages = conversation["messages"] or []
    sent = asyncio.create_task(send_all(messages))
    try:
        for _ in messages:
            report["heard"].append(heard(await socket.recv()))
        await sent
        if close := conversation["close"]:
            await socket.close(close["code"], close["reason"])
        while True:
            report["heard"].append(heard(await socket.recv()))
    except websockets.ConnectionClosed:
        report["close"] = {"code": socket.close_code, "reason": socket.close_reason}
    finally:
        sent.cancel()


async def with_aiohttp(conversation, report):
    import aiohttp

    async with aiohttp.ClientSession() as session, session.ws_connect(
        conversation["url"], protocols=conversation["subprotocols"] or [], autoping=False, max_msg_size=0,
        compress=0 if conversation["offer"] is None else 15,
    ) as socket:
        report["subprotocol"] = socket.protocol or ""
        report["extensions"] = socket._response.headers.get("Sec-WebSocket-Extensions", "")

        async def send_all(messages):
            for m in messages:
                if m["ping"]:
                    await socket.ping(m["ping"].encode())
                data = payload(m)
                await (socket.send_str(data) if m["text"] else socket.send_bytes(data))

        messages = conversation["messages"] or []
        sent = asyncio.create_task(send_all(messages))
        reason = ""
        try:
            while True:
                if len(report["heard"]) == len(messages) and conversation["close"] and not socket.closed:
                    await sent
                    await socket.close(code=conversation["close"]["code"], message=conversation["close"]["reason"].encode())
                m = await socket.receive()
                if m.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                    report["heard"].append(heard(m.data))
                elif m.type == aiohttp.WSMsgType.PONG:
                    report["pongs"].append(bytes(m.data).decode())
                elif m.type == aiohttp.WSMsgType.PING:
                    await socket.pong(m.data)
                elif m.type == aiohttp.WSMsgType.ERROR:
                    raise m.data
                else:
                    reason = m.extra or ""
                    break
        finally:
            sent.cancel()
        report["close"] = {"code": socket.close_code, "reason": reason}


async def converse(talk, ask):
    report = {"extensions": "", "subprotocol": "", "heard": [], "pongs": [], "close": {"code": 0, "reason": ""}, "error": ""}
    try:
        await talk(ask["conversation"], report)
    except Exception as e:
        report["error"] = repr(e)
    print(json.dumps({"id": ask["id"], "report": report}), flush=True)


async def main(talk):
    loop = asyncio.get_running_loop()
    running = set()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        running.add(asyncio.create_task(converse(talk, json.loads(line))))
    await asyncio.gather(*running)


asyncio.run(main({"websockets": with_websockets, "aiohttp": with_aiohttp}[sys.argv[1]]))
