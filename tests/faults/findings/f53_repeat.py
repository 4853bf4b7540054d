# POSTs that race with closing, counted at the server; the same by HEAD/GET over 64 KiB; two hosts
from c import *
prime()
for i in range(30):
    s = conn()
    try: s.sendall(req("close-after=0.0%d" % (i % 3), "POST", body=b"x" * (i * 3000))); answer(s)
    except OSError as e: say(errno.errorcode[e.errno])
    s.close()
    if i % 5 == 4: time.sleep(1.2)
say(one("log").count("POST"))
