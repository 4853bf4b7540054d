# one request in all fails on a reused connection, right after the one before; then 10 s of a request every 10 ms
from c import *
one("ok"); 
s = conn(); s.sendall(req("stale-fin")); answer(s); s.close()
time.sleep(1.5)
for i in range(300): one("ok"); time.sleep(0.01)
