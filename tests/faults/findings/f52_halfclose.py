# connect, send nothing, shutdown(SHUT_WR), read until the end (nc -N </dev/null, a port checker)
from c import *
prime(); s = conn(); s.shutdown(socket.SHUT_WR); say("recv:", s.recv(100))
