# full duplex, a thread for each direction (a proxy): reader in recv(), writer sends the request's head in pieces
from c import *
bad = hang = 0
for i in range(1):
    time.sleep(0.0)
    one("ok"); s = conn(); res = []
    r = req("stale-rst")
    def rd():
        try: d = s.recv(4096); res.append("EOF" if not d else "data")
        except OSError as e: res.append(errno.errorcode[e.errno])
    t = threading.Thread(target=rd, daemon=True); t.start()
    try:
        s.sendall(r[:20]); s.sendall(r[20:-2]); s.sendall(r[-2:])
        time.sleep(0.001)
    except OSError as e: res.append("w"+errno.errorcode[e.errno])
    t.join(2)
    if res != ["data"]: say(i, res or "HANG")
    s.close()
    time.sleep(1.1) if i % 2 == 0 else 0
os._exit(0)
