# two threads in recv() on one socket
from c import *
prime(); s = conn(); res = []
def rd():
    try: d = s.recv(4096); res.append("EOF" if not d else "data")
    except OSError as e: res.append(errno.errorcode[e.errno])
s.sendall(req(sys.argv[2]))
ts = [threading.Thread(target=rd, daemon=True) for _ in range(2)]
for t in ts: t.start()
time.sleep(3)
say(res, one("log").count("stale"))
os._exit(0)
