# non-blocking, event loop; the new connection's first SYN is dropped (queue full for 1.6 s)
from c import *
prime()
s = socket.socket(); s.setblocking(False)
try: s.connect(ADDR)
except BlockingIOError: pass
p = select.poll(); p.register(s, select.POLLOUT); p.poll(3000)
say("SO_ERROR", s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
s.send(req("full=%s/stale-fin" % (sys.argv[2] if len(sys.argv) > 2 else "1.6")))
p.modify(s, select.POLLIN)
t0 = time.time()
for i in range(3):
    p.poll(5000)
    t1 = time.time()
    try: d = s.recv(1000); say("recv", d[-30:]); break
    except BlockingIOError: say("EAGAIN; recv took %.1f s" % (time.time()-t1))
    except OSError as e: say(errno.errorcode[e.errno], "recv took %.1f s" % (time.time()-t1)); 
