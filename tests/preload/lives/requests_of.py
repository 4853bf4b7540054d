"""What the python lives here share: one request on a connection of its own, one that stays open."""

import http.client
import os
import sys

PORT = int(sys.argv[1])


class Open:
    """A connection that stays open over many requests."""

    def __init__(self):
        self.connection = http.client.HTTPConnection("127.0.0.1", PORT)

    def get(self, name):
        """Asked with the process's id, so that the server knows who used which connection."""
        owner = f"~{os.getpid()}"
        self.connection.request("GET", f"/echo/{name}{owner}")
        return self.connection.getresponse().read().decode().removesuffix(owner)

    def say(self, name):
        print(name, self.get(name), flush=True)

    def fileno(self):
        return self.connection.sock.fileno()

    def close(self):
        self.connection.close()


def get(name):
    once = Open()
    try:
        return once.get(name)
    finally:
        once.close()


def say(name):
    print(name, get(name), flush=True)


def own_descriptors():
    """Without those of the library, which are higher than a small program's own ever get."""
    return sorted(int(fd) for fd in os.listdir("/proc/self/fd") if int(fd) < 500)
