"""Runs a program in a sandbox with a way to the gateway: `python -I /run/bridge.py PORT command ...`

A sandbox has no network but its own loopback. There this listens, passes everything on to the gateway's Unix socket,
runs the program, and exits as the program does.
"""

import asyncio
import sys

DOOR = "/run/gateway.sock"
"""Where a sandbox sees the gateway's socket."""
HERE = "/run/bridge.py"
PORT = 8600


async def main(port: int, command: list[str]) -> int:
    async def passed_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_unix_connection(DOOR)
            await asyncio.gather(pour(reader, back), pour(there, writer))
        except OSError:
            writer.close()

    async with await asyncio.start_server(passed_on, "127.0.0.1", port):
        program = await asyncio.create_subprocess_exec(*command)
        return await program.wait()


async def pour(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Everything from one to the other, as it comes."""
    try:
        while data := await source.read(1 << 16):
            sink.write(data)
            await sink.drain()
    finally:
        sink.close()


if __name__ == "__main__":
    status = asyncio.run(main(int(sys.argv[1]), sys.argv[2:]))
    sys.exit(128 - status if status < 0 else status)
