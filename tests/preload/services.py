"""Real servers for the tests with real programs, each on a free loopback port of its own.

Every one is a child of this process, keeps its files in a temporary directory and is ended by its
process id. Readiness is what the server says in its log; nothing sleeps.
"""

import contextlib
import http.server
import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import tempfile
import threading
import urllib.request

import processes
from harness import TIMEOUT, Failure, Skip, need
from server import pattern

FILES = {"small": 1000, "large": 1000000}

NGINX_CONFIGURATION = """
daemon off;
{processes}
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
    {http}
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        root {directory}/files;
        location /status {{ stub_status; }}
        {more}
    }}
}}
"""

HAPROXY_CONFIGURATION = """
global
    nbthread 2
    {privileges}
defaults
    mode http
    timeout connect 20s
    timeout client 20s
    timeout server 20s
listen front
    bind 127.0.0.1:{port}
    {options}
    server origin 127.0.0.1:{origin}
"""

SSHD_CONFIGURATION = """
ListenAddress 127.0.0.1:{port}
HostKey {directory}/host
AuthorizedKeysFile {directory}/user.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
PermitUserRC no
Subsystem sftp /usr/lib/openssh/sftp-server
SetEnv {variables}
"""

SSH_CONFIGURATION = """
Host loopback
HostName 127.0.0.1
Port {port}
IdentityFile {directory}/user
IdentitiesOnly yes
UserKnownHostsFile {directory}/known
GlobalKnownHostsFile none
StrictHostKeyChecking yes
ExitOnForwardFailure yes
BatchMode yes
LogLevel ERROR
"""

RSYNCD_CONFIGURATION = """
port = {port}
address = 127.0.0.1
use chroot = no
pid file = {directory}/pid
lock file = {directory}/lock
log file = /dev/stdout
{identity}
[files]
path = {directory}/files
read only = no
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def await_line(stream, sign):
    """Reads until a line contains sign, and on beside the caller, who gets a list that grows."""
    seen = []
    for line in stream:
        seen.append(line)
        if sign in line:
            threading.Thread(target=lambda: seen.extend(stream), daemon=True).start()
            return seen
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
        process.said = await_line(process.stdout, sign)
        yield process
    finally:
        process.terminate()
        end(process)


def end(process):
    try:
        process.wait(TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise Failure(f"did not end when it was told to: {process.args}") from None


def preloaded(library):
    return {"LD_PRELOAD": library} if library else None


class Daemon:
    def __init__(self, port, process):
        self.port = port
        self.pid = process.pid
        self.said = process.said  # lines, of all its processes


class Nginx(Daemon):
    def __init__(self, port, process, files):
        super().__init__(port, process)
        self.files = files  # the directory that it serves

    def counters(self):
        """Connections accepted and requests answered; asking costs one of each."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/status") as answer:
            accepted, _, requests = answer.read().decode().splitlines()[2].split()
        return int(accepted), int(requests)


@contextlib.contextmanager
def nginx(more="", preload=None, workers=0, http=""):
    """more: further lines of the server block, such as proxy_pass; http: those of the http block.

    workers: how many, below a master process; by default there is one process that is both.
    """
    program = need("nginx")
    processes = f"worker_processes {workers};" if workers else "master_process off;"
    with tempfile.TemporaryDirectory(prefix="sppool-nginx-") as directory:
        files = pathlib.Path(directory, "files")
        files.mkdir()
        for name, size in FILES.items():
            (files / name).write_bytes(pattern(size))
        os.chmod(directory, 0o755)
        port = free_port()
        configuration = pathlib.Path(directory, "nginx.conf")
        configuration.write_text(
            NGINX_CONFIGURATION.format(
                directory=directory, port=port, more=more, http=http, processes=processes
            )
        )
        argv = [program, "-p", directory, "-e", "stderr", "-c", str(configuration)]
        sign = "start worker process " if workers else "getrlimit"
        with child(argv, sign, preloaded(preload)) as process:
            yield Nginx(port, process, files)


@contextlib.contextmanager
def haproxy(origin, options="", preload=None):
    """A master and a worker with two threads. As root the worker changes its root and its user."""
    program = need("haproxy")
    with tempfile.TemporaryDirectory(prefix="sppool-haproxy-") as directory:
        port = free_port()
        privileges = f"user nobody\n    group nogroup\n    chroot {directory}"
        configuration = pathlib.Path(directory, "haproxy.cfg")
        configuration.write_text(
            HAPROXY_CONFIGURATION.format(
                port=port,
                origin=origin,
                options=options,
                privileges=privileges if os.getuid() == 0 else "",
            )
        )
        argv = [program, "-W", "-db", "-f", str(configuration)]
        with child(argv, "Loading success", preloaded(preload)) as process:
            yield Daemon(port, process)


class Sshd(Daemon):
    def __init__(self, port, process, directory):
        super().__init__(port, process)
        self.directory = directory
        self.options = ["-F", f"{directory}/ssh_config"]  # of ssh, scp and sftp; the host: loopback


@contextlib.contextmanager
def sshd(preload=None):
    """For the user that runs this. With a library to preload, the sessions have it, too."""
    program = need("sshd")
    if os.getuid() == 0:
        os.makedirs("/run/sshd", exist_ok=True)  # what starts Debian's sshd makes it, too
    with tempfile.TemporaryDirectory(prefix="sppool-sshd-") as directory:
        port = free_port()
        # in a shell below another one bash does not read the user's ~/.bashrc
        variables = f"SHLVL=5 LD_PRELOAD={preload}" if preload else "SHLVL=5"
        for name, text in ("sshd_config", SSHD_CONFIGURATION), ("ssh_config", SSH_CONFIGURATION):
            text = text.format(directory=directory, port=port, variables=variables)
            pathlib.Path(directory, name).write_text(text)
        for key in ("host", "user"):
            make = [need("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", f"{directory}/{key}"]
            subprocess.run(make, check=True)
        host = pathlib.Path(directory, "host.pub").read_text()
        pathlib.Path(directory, "known").write_text(f"[127.0.0.1]:{port} {host}")
        argv = [program, "-D", "-e", "-f", f"{directory}/sshd_config"]
        with child(argv, "Server listening", preloaded(preload)) as process:
            yield Sshd(port, process, directory)


@contextlib.contextmanager
def rsyncd(preload=None):
    program = need("rsync")
    with tempfile.TemporaryDirectory(prefix="sppool-rsyncd-") as directory:
        port = free_port()
        os.mkdir(f"{directory}/files")
        configuration = pathlib.Path(directory, "rsyncd.conf")
        configuration.write_text(
            RSYNCD_CONFIGURATION.format(
                directory=directory,
                port=port,
                identity="uid = root\ngid = root" if os.getuid() == 0 else "",
            )
        )
        argv = [program, "--daemon", "--no-detach", f"--config={configuration}"]
        with child(argv, "listening on port", preloaded(preload)) as process:
            # it says so too early
            processes.await_true(lambda: processes.is_listening(port), "rsyncd listens")
            yield Daemon(port, process)


@contextlib.contextmanager
def redis(*options):
    program = need("redis-server")
    with tempfile.TemporaryDirectory(prefix="sppool-redis-") as directory:
        port = free_port()
        always = f"--port {port} --bind 127.0.0.1 --save --appendonly no --dir {directory}"
        argv = [program, *always.split(" "), *options]
        with child(argv, "Ready to accept connections"):
            yield port


@contextlib.contextmanager
def memcached(*options):
    program = need("memcached")
    port = free_port()
    argv = [program, "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-vv", *options]
    if os.getuid() == 0:
        argv += ["-u", "nobody"]
    with child(argv, "server listening"):
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


class Pages(http.server.ThreadingHTTPServer):
    """Serves HTML pages: answers(path) is the page, or None."""

    daemon_threads = True

    def __init__(self, answers):
        self.answers = answers
        self.asked = []  # paths, in the order of arrival
        super().__init__(("127.0.0.1", 0), PageHandler)
        self.port = self.server_address[1]

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class PageHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one piece: in two, the second waits for an acknowledgement

    def do_GET(self):
        self.server.asked.append(self.path)
        answer = self.server.answers(self.path)
        body = (answer or "none").encode()
        self.send_response(200 if answer else 404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass
