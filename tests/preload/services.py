"""Real servers for the tests with real programs, each on a free loopback port of its own.

Every one is a child of this process, keeps its files in a temporary directory and is ended by its
process id. Readiness is what the server says in its log; nothing sleeps.
"""

import contextlib
import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import tempfile
import threading
import urllib.request

from harness import Failure, Skip, need
from server import pattern

FILES = {"small": 1000, "large": 1000000}

NGINX_CONFIGURATION = """
daemon off;
master_process off;
pid {directory}/pid;
error_log stderr notice;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    keepalive_requests 1000000;
    keepalive_timeout 300;
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        root {directory}/files;
        location /status {{ stub_status; }}
        {more}
    }}
}}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def await_line(stream, sign):
    """Reads until a line contains sign; what follows is read and dropped, so that nothing fills."""
    seen = []
    for line in stream:
        seen.append(line)
        if sign in line:
            threading.Thread(target=lambda: list(stream), daemon=True).start()
            return
    raise Failure("did not start:\n" + "".join(seen))


@contextlib.contextmanager
def child(argv, sign, env=None):
    """A server that says sign when it is ready; ended, with its children, on the way out."""
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, **(env or {})},
    )
    try:
        await_line(process.stdout, sign)
        yield process
    finally:
        process.terminate()
        process.wait()


class Nginx:
    def __init__(self, port):
        self.port = port

    def counters(self):
        """Connections accepted and requests answered; asking costs one of each."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/status") as answer:
            accepted, _, requests = answer.read().decode().splitlines()[2].split()
        return int(accepted), int(requests)


@contextlib.contextmanager
def nginx(more="", preload=None):
    """more: further lines of the server block, such as proxy_pass."""
    program = need("nginx")
    with tempfile.TemporaryDirectory(prefix="sppool-nginx-") as directory:
        files = pathlib.Path(directory, "files")
        files.mkdir()
        for name, size in FILES.items():
            (files / name).write_bytes(pattern(size))
        os.chmod(directory, 0o755)
        port = free_port()
        configuration = pathlib.Path(directory, "nginx.conf")
        configuration.write_text(
            NGINX_CONFIGURATION.format(directory=directory, port=port, more=more)
        )
        argv = [program, "-p", directory, "-e", "stderr", "-c", str(configuration)]
        with child(argv, "getrlimit", {"LD_PRELOAD": preload} if preload else None):
            yield Nginx(port)


@contextlib.contextmanager
def redis():
    program = need("redis-server")
    with tempfile.TemporaryDirectory(prefix="sppool-redis-") as directory:
        port = free_port()
        options = f"--port {port} --bind 127.0.0.1 --save --appendonly no --dir {directory}"
        with child([program, *options.split(" ")], "Ready to accept connections"):
            yield port


def postgres_programs():
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not found:
        raise Skip("postgresql is not installed")
    return found[-1].parent


@contextlib.contextmanager
def postgres():
    """postgres refuses to run as root: then it runs as its own user."""
    programs = postgres_programs()
    become = []
    with tempfile.TemporaryDirectory(prefix="sppool-postgres-") as directory:
        if os.getuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(directory, user.pw_uid, user.pw_gid)
            become = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]
        data = f"{directory}/data"
        initdb = [programs / "initdb", "-D", data, "-U", "tester", "-A", "trust", "-N"]
        subprocess.run([*become, *initdb], check=True, capture_output=True, cwd="/")
        port = free_port()
        options = f"-D {data} -p {port} -k {directory} -h 127.0.0.1 -F"
        argv = [*become, programs / "postgres", *options.split()]
        with child(argv, "ready to accept connections", {"LC_ALL": "C"}):
            yield port


def scratch_copy(source, name):
    """A file of that name with that content, in a directory that lives as long as the test."""
    directory = tempfile.mkdtemp(prefix="sppool-source-")
    path = pathlib.Path(directory, name)
    path.write_text(source)
    return path, lambda: shutil.rmtree(directory)
