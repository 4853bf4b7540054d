"""The servers, each on a free loopback port: the origin, what stands before it, and redis."""

import contextlib
import tempfile

import services
from harness import need

# The bodies, by their paths.
BODIES = {'0': 0, '1k': 1024, '100k': 100 * 1024, '10m': 10 * 1024 * 1024}

# As Debian's nginx.conf has it; and files are not looked for at each request. With tcp_nopush nginx
# holds the last piece of a body that comes in pieces back until what went before is acknowledged,
# and a client acknowledges at once only while its connection is new: chunked/100k takes 40 ms on any
# connection that is kept, by whomever.
ORIGIN = 'sendfile on; tcp_nopush on; open_file_cache max=16;'

# What includes are looked for in has no length beforehand, and is sent in chunks.
CHUNKED = 'location /chunked/ { alias files/; ssi on; ssi_types *; }'

UPSTREAM = """
    upstream origin {{ server 127.0.0.1:{origin}; keepalive 64; keepalive_requests 1000000; }}
"""
PROXY = """
    location / {
        proxy_pass http://origin;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
    }
"""
WORKERS = 2

# As many threads as there are processors that it may use, as there are by default.
HAPROXY = """
defaults
    mode http
    timeout connect 20s
    timeout client 20s
    timeout server 20s
    http-reuse always
listen front
    bind 127.0.0.1:{port}
    server origin 127.0.0.1:{origin}
"""


@contextlib.contextmanager
def origin(more=''):
    with services.nginx(more=CHUNKED + more, http=ORIGIN, workers=WORKERS) as server:
        for path, size in BODIES.items():
            (server.files / path).write_bytes(b'x' * size)
        yield server


@contextlib.contextmanager
def haproxy(direct):
    """Its port."""
    port = services.free_port()
    with tempfile.NamedTemporaryFile('w', prefix='sppool-bench-', suffix='.cfg') as configuration:
        configuration.write(HAPROXY.format(port=port, origin=direct))
        configuration.flush()
        argv = [need('haproxy'), '-W', '-db', '-f', configuration.name]
        with services.child(argv, 'Loading success'):
            yield port


@contextlib.contextmanager
def all_of_them():
    """{name: port}"""
    with contextlib.ExitStack() as stack:
        direct = stack.enter_context(origin()).port
        reusing = stack.enter_context(haproxy(direct))
        nginx = stack.enter_context(services.nginx(
            more=PROXY, http=UPSTREAM.format(origin=direct), workers=WORKERS))
        redis = stack.enter_context(services.redis())
        yield {'origin': direct, 'haproxy': reusing, 'nginx': nginx.port, 'redis': redis}
