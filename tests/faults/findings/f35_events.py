# how programs ask whether the peer has gone, other than by reading
from c import *
import fcntl, array, termios
prime(); s = conn(); s.setblocking(False); s.sendall(req("stale-fin/slow=0.2"))
e = select.epoll(); e.register(s, select.EPOLLIN|select.EPOLLRDHUP)
ev = e.poll(5)[0][1]; n = array.array("i", [0]); fcntl.ioctl(s, termios.FIONREAD, n)
say("EPOLLRDHUP" if ev & select.EPOLLRDHUP else "EPOLLIN", "FIONREAD > 0:", n[0] > 0)
s.close(); time.sleep(3)
one("ok"); s = conn(); s.setblocking(False); s.sendall(req("stale-rst/slow=0.2"))
e = select.epoll(); e.register(s, select.EPOLLIN)
ev = e.poll(5)[0][1]
try: s.getpeername(); say("peer known")
except OSError as x: say("getpeername", errno.errorcode[x.errno])
say(ev & (select.EPOLLERR|select.EPOLLHUP))
