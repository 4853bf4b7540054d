#!/usr/bin/python3
"""A server for the findings. Prints its port. Every request is answered, unless its path says otherwise,
with 'conn=C req=R method path body'. Paths are words joined by '/':
  stale-fin, stale-rst   on a connection's 2nd or later request: close, reset, without an answer
  hang                   never answered (on any connection)
  hang-new               never answered on a connection's first request
  slow=S                 answered after S seconds
  full=S                 after this the accept queue is full for S seconds (SYNs dropped)
  stop                   no one listens any more
  close-after=S          closed S seconds after the answer
  log                    the answer is the log of all requests so far
"""
import socket, threading, sys, time, struct, os
lock = threading.Lock(); log = []; conns = 0; opened = 0
lst = socket.socket(); lst.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
lst.bind(("127.0.0.1", 0)); lst.listen(int(os.environ.get("BACKLOG", "0")))
port = lst.getsockname()[1]; print(port, flush=True)
pause = threading.Event(); pause.set()
fillers = []
def fill(seconds):
    pause.clear()
    time.sleep(0.05)
    for i in range(4):
        f = socket.socket(); f.setblocking(False)
        try: f.connect(("127.0.0.1", port))
        except BlockingIOError: pass
        fillers.append(f)
    time.sleep(0.1)
    def unfill():
        time.sleep(seconds)
        for f in fillers: f.close()
        fillers.clear()
        pause.set()
    threading.Thread(target=unfill, daemon=True).start()
def rst(c):
    c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)); c.close()
def serve(c, cid):
    n = 0; buf = b""
    try:
        while True:
            while b"\r\n\r\n" not in buf:
                d = c.recv(65536)
                if not d: c.close(); return
                buf += d
            head, _, buf = buf.partition(b"\r\n\r\n")
            line = head.split(b"\r\n")[0].decode(); method, path, _v = line.split(" ")
            length = 0; host = "-"
            for h in head.split(b"\r\n")[1:]:
                k, _, v = h.partition(b":")
                if k.lower() == b"content-length": length = int(v)
                if k.lower() == b"host": host = v.strip().decode()
            while len(buf) < length:
                d = c.recv(65536)
                if not d: c.close(); return
                buf += d
            body, buf = buf[:length], buf[length:]
            n += 1
            with lock: log.append(f"conn={cid} req={n} {method} {path} host={host} body={len(body)}")
            words = path.strip("/").split("/")
            w = dict((x.split("=")+[""])[:2] for x in words)
            if n > 1 and "full" in w: fill(float(w["full"]))
            if n > 1 and "stop" in w: lst.shutdown(2); lst.close()
            if n > 1 and "stale-fin" in w: c.close(); return
            if n > 1 and "stale-rst" in w: rst(c); return
            if "hang" in w or (n == 1 and "hang-new" in w): time.sleep(100); return
            if "slow" in w: time.sleep(float(w["slow"]))
            if n == 1 and "full" in w and "stale" not in path: fill(float(w["full"]))
            if n == 1 and "stop" in w and "stale" not in path: lst.shutdown(2); lst.close()
            ans = ("\n".join(log) if "log" in w else log[-1]).encode()
            c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(ans) + (ans if method != "HEAD" else b""))
            if "close-after" in w: time.sleep(float(w["close-after"])); c.close(); return
    except OSError: pass
while True:
    pause.wait()
    lst.settimeout(0.02)
    try: c, _ = lst.accept()
    except (TimeoutError, socket.timeout): continue
    except OSError: time.sleep(1000); break
    c.settimeout(None)
    if not pause.is_set() and False: pass
    conns += 1
    threading.Thread(target=serve, args=(c, conns), daemon=True).start()
