# reader in recv(); shutdown(SHUT_WR) after the request, later shutdown(SHUT_RDWR) to stop waiting
from c import *
prime(); s = conn(); res = []
s.sendall(req("slow=3")); s.shutdown(socket.SHUT_WR)
t0 = time.time()
def rd():
    d = s.recv(4096); res.append(("EOF" if not d else d[-40:], round(time.time()-t0)))
t = threading.Thread(target=rd, daemon=True); t.start(); time.sleep(0.5)
s.shutdown(socket.SHUT_RDWR); t.join(8)
say(res or "still in recv()")
s.close(); time.sleep(4); say(one("log"))
os._exit(0)
