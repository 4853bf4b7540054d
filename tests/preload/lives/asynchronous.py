"""asyncio: streams, subprocesses and threads of an executor, all at the same time."""

import asyncio
import os

from requests_of import PORT, get, own_descriptors


async def ask(name):
    reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
    owner = f"~{os.getpid()}"
    writer.write(f"GET /echo/{name}{owner} HTTP/1.1\r\nHost: loopback\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    body = await reader.readexactly(length)
    writer.close()
    await writer.wait_closed()
    return f"{name} {body.decode().removesuffix(owner)}"


async def through_cat(name):
    cat = await asyncio.create_subprocess_exec(
        "cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await cat.communicate((await ask(name)).encode())
    return f"{output.decode()} {cat.returncode}"


async def through_shell(name):
    shell = await asyncio.create_subprocess_shell(
        f"echo {name}; ls /proc/self/fd; exit 3", stdout=asyncio.subprocess.PIPE
    )
    output, _ = await shell.communicate()
    return f"{output.split()} {shell.returncode} {await ask(name)}"


async def main():
    loop = asyncio.get_running_loop()
    print(await ask("first"))
    print(own_descriptors())
    for turn in range(5):
        kinds = (ask, through_cat, through_shell)
        work = [kinds[i % 3](f"turn-{turn}-{i}") for i in range(12)]
        work += [loop.run_in_executor(None, get, f"thread-{turn}-{i}") for i in range(4)]
        for line in await asyncio.gather(*work):
            print(line)
    print(await ask("last"))
    print(own_descriptors())


asyncio.run(main())
