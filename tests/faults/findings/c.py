import socket, sys, threading, time, os, select, signal, errno, ctypes, struct
port = int(sys.argv[1]); ADDR = ("127.0.0.1", port)
def conn():
    s = socket.socket(); s.connect(ADDR); return s
def req(path, method="GET", host="a", body=b""):
    return (f"{method} /{path} HTTP/1.1\r\nHost: {host}\r\n" + (f"Content-Length: {len(body)}\r\n" if method=="POST" else "") + "\r\n").encode() + body
def answer(s):
    b = b""
    while b"\r\n\r\n" not in b:
        d = s.recv(65536)
        if not d: return "EOF"
        b += d
    head, _, rest = b.partition(b"\r\n\r\n")
    n = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
    while len(rest) < n:
        rest += s.recv(65536)
    return rest.decode()
def one(path, **k):
    s = conn(); s.sendall(req(path, **k)); a = answer(s); s.close(); return a
def prime(path="ok"):
    r = one(path); time.sleep(0.02); return r
def say(*a): print(*a, flush=True)
