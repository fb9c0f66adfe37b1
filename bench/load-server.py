"""An application for measurements: says its version, sends and takes bytes slowly, and echoes on WebSockets."""

import asyncio
import base64
import hashlib
import os
import signal
import sys

VERSION = os.environ.get("VERSION", "0")
HEALTH = os.environ.get("HEALTH", "/healthz,/health").split(",")
SICK = bool(os.environ.get("SICK"))
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def head(status, length, more=""):
    return f"HTTP/1.1 {status}\r\nX-Version: {VERSION}\r\nContent-Length: {length}\r\n{more}\r\n".encode()


async def serve(reader, writer):
    try:
        while True:
            request = await reader.readuntil(b"\r\n\r\n")
            first, *lines = request.decode("latin-1").split("\r\n")
            method, target, _ = first.split(" ")
            headers = dict(line.lower().split(": ", 1) for line in lines if ": " in line)
            if "upgrade" in headers:
                return await echo(reader, writer, request)
            if target in HEALTH or target == "/healthz":
                good = target in HEALTH and not SICK
                writer.write(head("200 OK" if good else "503 Sick", 0))
            elif target.startswith("/download/"):
                await download(writer, int(target.rsplit("/", 1)[1]))
            elif method == "POST":
                length = int(headers["content-length"])
                await reader.readexactly(length)
                writer.write(head("200 OK", len(str(length))) + str(length).encode())
            else:
                body = f"version {VERSION}\n".encode()
                writer.write(head("200 OK", len(body)) + body)
            await writer.drain()
            if headers.get("connection") == "close":
                return
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def download(writer, seconds):
    """A kilobyte every tenth of a second."""
    writer.write(head("200 OK", seconds * 10 * 1024))
    for _ in range(seconds * 10):
        writer.write(b"x" * 1024)
        await writer.drain()
        await asyncio.sleep(0.1)


async def echo(reader, writer, request):
    key = next(line[19:] for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key: "))
    accept = base64.b64encode(hashlib.sha1(key.strip() + GUID).digest()).decode()
    lines = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
    writer.write(f"HTTP/1.1 101 Switching Protocols\r\nX-Version: {VERSION}\r\n{lines}{accept}\r\n\r\n".encode())
    while True:
        first, size = await reader.readexactly(2)
        size &= 0x7F
        mask = await reader.readexactly(4)
        data = bytes(byte ^ mask[index % 4] for index, byte in enumerate(await reader.readexactly(size)))
        writer.write(bytes([first, size]) + data)
        await writer.drain()
        if first & 0x0F == 8:
            return


async def main():
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8080
    server = await asyncio.start_server(serve, "0.0.0.0", port, backlog=1024)
    # Graceful enough for a measurement: what comes after the drain is cut, and counted.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: os._exit(0))
    async with server:
        await server.serve_forever()


asyncio.run(main())
