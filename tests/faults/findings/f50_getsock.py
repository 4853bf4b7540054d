# what holds: identity of the socket after renewal
from c import *
prime(); time.sleep(2.2)
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1); s.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 77); s.setsockopt(0, 1, 0x10)
s.bind(("127.0.0.5", 0)) if 0 else None
s.connect(ADDR); s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 5, 0)); s.set_inheritable(True)
s.sendall(req("ok", "POST", body=b"x")); answer(s)
say(s.getpeername() == ADDR, s.getsockopt(1, 9), s.getsockopt(6, 4), s.getsockopt(0, 1), s.getsockopt(6, 1), s.getsockopt(1, 20, 16) == struct.pack("ll", 5, 0), s.get_inheritable(), s.gettimeout())
