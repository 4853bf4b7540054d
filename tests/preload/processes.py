"""What /proc says of processes that are not this one: their children, descriptors and libraries."""

import os
import pathlib
import select
import time

from harness import TIMEOUT, Failure

# Above it are the hidden descriptors of the library; no program here has so many of its own.
OWN_MOST = 500


def state_and_parent(pid):
    """From the end, as the name in front of them may contain anything."""
    stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    state, parent = stat.rpartition(")")[2].split()[:2]
    return state, int(parent)


def children(pid):
    """Those that have not ended."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            state, parent = state_and_parent(entry)
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while this looked
        if parent == pid and state not in "ZX":
            found.append(int(entry))
    return sorted(found)


def command_line(pid):
    return pathlib.Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ")


def with_argument(text):
    """The processes whose command line contains the text, which should be found nowhere else."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            if text in command_line(entry):
                found.append(int(entry))
        except (FileNotFoundError, ProcessLookupError):
            pass  # it ended while this looked
    return sorted(found)


def own_descriptors(pid):
    """Their numbers, without those that the library hides."""
    numbers = map(int, os.listdir(f"/proc/{pid}/fd"))
    return sorted(number for number in numbers if number < OWN_MOST)


def hidden_descriptors(pid):
    numbers = map(int, os.listdir(f"/proc/{pid}/fd"))
    return sorted(number for number in numbers if number >= OWN_MOST)


def has_loaded(pid, library):
    """Whether the process has mapped the file, if there is one to look for."""
    return library in pathlib.Path(f"/proc/{pid}/maps").read_text()


def status_of(pid, field):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return value.strip()
    return None


def is_listening(port):
    """Whether anybody is, on loopback."""
    wanted = [f"0100007F:{port:04X}", "00000000:0000", "0A"]
    lines = pathlib.Path("/proc/net/tcp").read_text().splitlines()
    return any(line.split()[1:4] == wanted for line in lines)


def await_end(pid):
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if not select.select([handle], [], [], TIMEOUT)[0]:
            raise Failure(f"process {pid} did not end")
    finally:
        os.close(handle)


def await_true(condition, what):
    """For what another process does in its own time; how often it is looked at decides nothing."""
    end = time.monotonic() + TIMEOUT
    while not condition():
        if time.monotonic() > end:
            raise Failure(f"not in {TIMEOUT} s: {what}")
        time.sleep(0.01)
