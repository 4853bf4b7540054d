# A blocking read() that is interrupted by a handler without SA_RESTART while the new connection is being made; the
# program calls again, as it must. mode: fin|rst
from c import *
libc = ctypes.CDLL(None, use_errno=True)
prime()
one("full=2.2") if False else None
s = conn(); s.sendall(req("full=2.2")); answer(s)
