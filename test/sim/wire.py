"""JSON over HTTP on 127.0.0.1: a small asyncio server, and clients that give up soon."""

import asyncio
import http.client
import json

TIMEOUT = 0.05  # seconds; what a caller waits for an answer


class NoAnswer(Exception):
    """The caller does not know whether the other side did what it was asked."""


class Peer:
    """One caller's connection to a server, opened again after each time-out."""

    def __init__(self, port, timeout=TIMEOUT):
        self.port = port
        self.timeout = timeout
        self.connection = None

    def call(self, path, request=None):
        """POSTs a request; returns the answer, or raises NoAnswer."""
        body = json.dumps(request or {}).encode()
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection(
                    "127.0.0.1", self.port, timeout=self.timeout)
            self.connection.request("POST", path, body)
            response = self.connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise NoAnswer(path) from error
        if response.status != 200:
            raise NoAnswer(f"{path}: {response.status}")
        return json.loads(answer)

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None


async def read_message(reader):
    """Reads a request or an answer; returns (first line, body), or None at the end."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *fields = head.split("\r\n")
    length = 0
    for field in fields:
        name, _, value = field.partition(":")
        if name.lower() == "content-length":
            length = int(value)
    return first, await reader.readexactly(length)


async def serve(handle):
    """Serves handle(path, request) → answer; None: the caller gets none. → (server, port)"""

    async def connected(reader, writer):
        try:
            while (message := await read_message(reader)) is not None:
                path = message[0].split(" ")[1]
                answer = await handle(path, json.loads(message[1] or b"{}"))
                if answer is None:
                    await asyncio.sleep(2 * TIMEOUT)
                    break
                status = "200 OK" if answer is not FAILED else "500 Failed"
                body = json.dumps(answer).encode()
                writer.write(f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n"
                             f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=1 << 26)
    return server, server.sockets[0].getsockname()[1]


FAILED = {"failed": True}  # the answer with status 500


class Pusher:
    """Delivers messages to a server, several at a time, until it answers 200."""

    def __init__(self, port, path, senders=4):
        self.port = port
        self.path = path
        self.waiting = asyncio.Queue()
        self.undelivered = 0
        self.senders = [asyncio.ensure_future(self.send()) for _ in range(senders)]

    def push(self, message, delay=0):
        self.undelivered += 1
        asyncio.get_running_loop().call_later(delay, self.waiting.put_nowait, message)

    async def send(self):
        reader = writer = None
        while True:
            message = await self.waiting.get()
            body = json.dumps(message).encode()
            try:
                if writer is None:
                    reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.write(f"POST {self.path} HTTP/1.1\r\n"
                             f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
                answer = await asyncio.wait_for(read_message(reader), 5)
                delivered = answer is not None and " 200 " in answer[0]
            except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError):
                delivered = False
            if delivered:
                self.undelivered -= 1
                continue
            if writer is not None:
                writer.close()
                writer = None
            asyncio.get_running_loop().call_later(0.05, self.waiting.put_nowait, message)
