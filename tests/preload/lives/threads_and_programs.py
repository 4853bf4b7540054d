"""Threads that make requests, and threads that start programs, at the same time."""

import concurrent.futures
import subprocess

from requests_of import get, own_descriptors, say

REQUESTS = 400
PROGRAMS = 40


def ask(number):
    return f"request-{number} {get(f'request-{number}')}"


def start(number):
    options = {"close_fds": number % 2 == 0, "capture_output": True, "text": True}
    if number % 4 > 1:
        options["preexec_fn"] = lambda: None  # makes it fork() instead of vfork()
    done = subprocess.run(["sh", "-c", f"echo program-{number}; exit {number}"], **options)
    return f"{done.stdout.strip()} {done.returncode}"


say("first")
before = own_descriptors()
with concurrent.futures.ThreadPoolExecutor(8) as asking:
    with concurrent.futures.ThreadPoolExecutor(2) as starting:
        answers = asking.map(ask, range(REQUESTS))
        programs = starting.map(start, range(PROGRAMS))
        print(*answers, *programs, sep="\n")
say("last")
print(before == own_descriptors(), before)
