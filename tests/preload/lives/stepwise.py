"""Goes on for a turn whenever it is told to: what looks at it in between finds it waiting."""

import subprocess
import sys
import threading

import requests_of
from requests_of import own_descriptors, say


def in_threads(turn):
    lines = {}

    def work(number):
        name = f"thread-{turn}-{number}"
        lines[number] = [f"{name}-{i} {requests_of.get(f'{name}-{i}')}" for i in range(10)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(*(line for number in range(4) for line in lines[number]), sep="\n")


live = requests_of.Open()
say("first")
before = own_descriptors()
for turn, line in enumerate(sys.stdin):
    say(f"parked-{turn}")
    live.say(f"live-{turn}")
    in_threads(turn)
    print(subprocess.run(["echo", line.strip()], capture_output=True))
    print(f"waiting {turn}", flush=True)
live.say("last")
live.close()
print(before == own_descriptors(), before)
