"""A daemon by the book: two forks, a session, every descriptor closed, and then it works on."""

import os

import requests_of
from requests_of import own_descriptors, say


def become_daemon():
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    os.chdir("/")
    os.umask(0)
    say("before-closing")
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))


for i in range(3):
    say(f"starter-{i}")
live = requests_of.Open()
live.say("starter-live")
become_daemon()
for i in range(10):
    say(f"daemon-{i}")
print(own_descriptors())
