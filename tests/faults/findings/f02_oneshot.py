# EPOLLONESHOT: after the event the registration is disarmed until EPOLL_CTL_MOD.
from c import *
prime()
s = socket.socket(); 
try: s.setblocking(False); s.connect(ADDR)
except BlockingIOError: pass
e = select.epoll(); e.register(s, select.EPOLLOUT|select.EPOLLONESHOT)
say("connect:", bool(e.poll(2)))
e.modify(s, select.EPOLLIN|select.EPOLLONESHOT)
s.send(req("stale-fin/slow=0.2"))
say("event:", bool(e.poll(5)))
try: say("recv", s.recv(1000)[-40:])
except BlockingIOError: say("EAGAIN")
say("disarmed, so nothing in 1 s:", [ev for f, ev in e.poll(1)])
