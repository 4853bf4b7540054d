# A thread in poll()/select() on the socket while another writes; renewal because a POST follows 2 s of idle time.
from c import *
mode = sys.argv[2] if len(sys.argv) > 2 else "poll"
prime(); time.sleep(2.3)
s = conn()
got = []; t0 = time.time()
def waiter():
    if mode == "poll":
        p = select.poll(); p.register(s, select.POLLIN); got.append(p.poll(6000))
    else:
        got.append(select.select([s], [], [], 6)[0])
t = threading.Thread(target=waiter); t.start(); time.sleep(0.3)
s.sendall(req("ok", "POST", body=b"x"))
t.join(); say("after %d s" % (time.time()-t0))
say("poll said", "readable" if got[0] else "NOTHING in 6 s")
say(answer(s))
