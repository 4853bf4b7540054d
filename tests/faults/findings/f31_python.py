# settimeout() of Python: non-blocking underneath; a timeout of 0.5 s on recv
from c import *
prime(); s = socket.create_connection(ADDR, timeout=0.5)
s.sendall(req("full=3/stale-fin"))
t0 = time.time()
try: d = s.recv(100); say("data" if d else "EOF")
except Exception as e: say(type(e).__name__, e.errno)
say("%.1f s" % (time.time() - t0))
