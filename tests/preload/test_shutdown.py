#!/usr/bin/python3
"""That shutdown() before close() loses no connection to the pool, and that whoever does anything
else after it sees what it would have seen: its end, sent when it was asked for."""

import functools

from harness import (
    check_same, claim, compare, expect, main, opened, program, run,
)

JOBS = 8  # most claims wait

WAYS = ("RD", "WR", "RDWR")
OFF = {"SP_DEFER_SHUTDOWN": "0"}
LIVES = 5  # of programs/shutdown_ends.c


def same_connections(pair):
    plain, pooled = pair
    expect(plain.connections == pooled.connections,
           f"{plain.connections} connections without, {pooled.connections} with\n{pooled.stats}")
    return pair


# ---- what a program sees, call by call ----

# claim, scenario of programs/shutdown_calls.c
CALLS = [
    ("any call with the descriptor comes after it", "with_it"),
    ("calls that may wait come after it, wherever they look", "with_others"),
    ("options and a second shutdown() change nothing of it", "without_account"),
    ("a look at one carries out the others', too", "two_at_once"),
    ("forty are shut down: a look carries out all", "forty_at_once"),
    ("a connection that is not idle is shut down at once", "not_idle"),
]


def calls(scenario, how, where):
    same_connections(compare(
        [program("shutdown_calls"), scenario, "{0}", "{1}", how, where], ["hold", "control"]))


for text, scenario in CALLS:
    for how in WAYS:
        for where in ("apart", "in_set") if scenario.startswith("with") else ("apart",):
            claim(f"{text} ({how}, {where})")(functools.partial(calls, scenario, how, where))


# ---- what waits for the server, which waits for the end ----

# rows of programs/shutdown_waits.c; but for mutexes and their like, which a thread is not seen to wait
# for (README.md, shim/blockers.inc)
BY_DESCRIPTOR = ["by_read", "by_readv", "by_read_syscall", "by_recv", "by_recvmsg", "by_eventfd",
                 "by_splice", "by_open", "by_openat", "by_fopen", "by_accept",
                 "by_accept4", "by_full_write", "by_inotify", "by_poll", "by_ppoll_syscall",
                 "by_select", "by_epoll", "by_signalfd",
                 "by_second_connection"]
BY_STREAM = ["by_fgets", "by_getc", "by_fread", "by_fscanf", "by_getline", "by_fflush", "by_fputs",
             "by_popen", "by_system", "by_output_at_exit"]
BY_PROCESS = ["by_waitpid", "by_wait", "by_wait3", "by_wait4", "by_waitid", "by_wait_syscall",
              "by_waitpid_nohang"]
BY_LOCK = ["by_sem_wait", "by_sem_timedwait", "by_sem_clockwait", "by_sem_trywait",
           "by_trylock", "by_barrier", "by_condition", "by_timed_condition", "by_clock_condition",
           "by_short_condition", "by_short_semaphore",
           "by_c_condition", "by_c_timed_condition", "by_futex", "by_msgrcv", "by_mq_receive",
           "by_mq_timedreceive", "by_semop", "by_semtimedop", "by_flock", "by_lockf",
           "by_fcntl_lock", "by_ofd_lock"]
BY_TIME = ["by_sleep", "by_usleep", "by_nanosleep", "by_clock_nanosleep", "by_thrd_sleep",
           "by_poll_timeout", "by_select_timeout", "by_sched_yield", "by_yielding"]
BY_SIGNAL = ["by_sigwait", "by_sigwaitinfo", "by_sigtimedwait", "by_sigsuspend", "by_pause"]
BY_THREAD = ["by_join", "by_timedjoin", "by_clockjoin", "by_tryjoin", "by_thrd_join"]

GROUPS = [
    ("a descriptor", BY_DESCRIPTOR),
    ("a stream", BY_STREAM),
    ("a process", BY_PROCESS),
    ("a lock", BY_LOCK),
    ("time that passes", BY_TIME),
    ("a signal", BY_SIGNAL),
    ("a thread", BY_THREAD),
]


def waits(row, how, server="process", who="itself"):
    """The program ends itself when it hangs: its status differs then."""
    argv = [program("shutdown_waits"), row, "0", "0", how, server, "{scratch}", who]
    plain, pooled = (run(argv, (), preload) for preload in (False, True))
    expect(plain.status == 0, f"without the library: exit status {plain.status}\n{plain}")
    check_same(plain, pooled)


for text, rows in GROUPS:
    for row in rows:
        for how in "WR", "RDWR":
            claim(f"a server's child ends, and {text} is waited for: {row} ({how})")(
                functools.partial(waits, row, how))

# Those that a thread is in already when another one, or a handler, shuts down.
WAITING_BEFORE = ["by_read", "by_recv", "by_accept", "by_waitpid", "by_sem_wait",
                  "by_condition", "by_futex", "by_raw_futex", "by_flock", "by_join",
                  "by_fgets", "by_msgrcv", "by_open"]

for row in WAITING_BEFORE:
    for who in "leaver", "handler":
        # A handler ends it, whatever SA_RESTART says: signal(7).
        if (row, who) == ("by_msgrcv", "handler"):
            continue
        claim(f"what waits already is not left waiting: {row}, {who}")(
            functools.partial(waits, row, "WR", "process", who))

# A server in the same process may be waited for without a call.
LISTENERS = ("here", "closed", "anywhere", "both_families", "without_bind", "passed", "inherited")
HERE = ["by_spinning", "by_yielding", "by_mutex", "by_condition", "by_sem_wait", "by_raw_futex",
        "by_read"]

for listener in LISTENERS:
    for row in "by_spinning", "by_joining_server":
        claim(f"a server in the same process sees the end: {listener}, {row}")(
            functools.partial(waits, row, "RDWR", listener))
for row in HERE[1:]:
    claim(f"a server in the same process sees the end: here, {row}")(
        functools.partial(waits, row, "WR", "here"))


# ---- ends ----

# of the process: scenario of programs/shutdown_ends.c, exit status
PROCESS_ENDS = [("returns", 0), ("exits", 5), ("exits_at_once", 5), ("exits_quickly", 5),
                ("aborts", -6), ("is_killed", -9), ("writes", -13), ("at_exit", 0), ("executes", 0),
                ("executes_and_closes", 0), ("forks", 0), ("vforks", 0), ("forked_before", 0),
                ("duplicated_before", 0), ("by_stream", 0), ("lingers_for_nothing", 0),
                ("lingered_for_nothing", 0), ("closed_in_range", 0), ("duplicated_over", 0),
                ("closes", 0)]


def process_end(scenario, how, status):
    argv = [program("shutdown_ends"), scenario, "0", "0", how, "{scratch}"]
    plain, pooled = (run(argv, (), preload) for preload in (False, True))
    expect(plain.status == status, f"without the library: exit status {plain.status}\n{plain}")
    expect(b"server: 1 requests" in plain.stdout, f"the server said nothing\n{plain}")
    check_same(plain, pooled)


for scenario, status in PROCESS_ENDS:
    for how in "WR", "RDWR":
        claim(f"the server sees the same end: {scenario} ({how})")(
            functools.partial(process_end, scenario, how, status))


# against the harness's server: as many connections as without the library
ENDS = ["duplicated_before", "duplicated_over", "closed_unseen", "closed_unseen_for_pair",
        "by_stream", "stream_after", "lingers_for_nothing", "lingered_for_nothing",
        "answer_unread", "in_handler", "jumps_out", "forked_before", "executes", "forks",
        "vforks"]


def end(scenario, how, mode="hold"):
    same_connections(compare([program("shutdown_ends"), scenario, "{0}", "{1}", how],
                             [mode, "control"]))


for scenario in ENDS:
    for how in WAYS:
        claim(f"as without: {scenario} ({how})")(functools.partial(end, scenario, how))
for mode in "extra", "idle-close":
    for how in "WR", "RDWR":
        claim(f"what the server does in between is seen: {mode} ({how})")(
            functools.partial(end, "server_acts_in_between", how, mode))


# claim, scenario, connections without, and with
LIVES_OF = [
    ("nothing but close() follows: one connection", "lives", LIVES, 1),
    ("options are read and set: one connection", "lives_with_options", LIVES, 1),
    ("it is shut down twice: one connection", "lives_shut_down_again", LIVES, 1),
    ("it is shut down by halves: one connection", "lives_by_halves", LIVES, 1),
    ("it is taken out of an epoll set: one connection", "lives_in_set", LIVES, 1),
    ("a signal handler shuts it down: nothing is held back", "lives_by_handler", LIVES, LIVES),
    ("two at a time: two connections", "two_lives", 2 * LIVES, 2),
    ("a second life can be ended in earnest", "second_life_to_end", 2 * LIVES, LIVES),
]


def lives(scenario, how, without, within, **options):
    argv = [program("shutdown_ends"), scenario, "{0}", "{1}", how]
    return opened(compare(argv, ["hold", "control"], **options), without, within, within)


for text, scenario, without, within in LIVES_OF:
    for how in WAYS:
        claim(f"{text} ({how})")(functools.partial(lives, scenario, how, without, within))
for how in WAYS:
    claim(f"SP_DEFER_SHUTDOWN=0: a connection each ({how})")(
        functools.partial(lives, "lives", how, LIVES, LIVES, env=OFF))


# ---- goodbyes ----

PROTOCOLS = ("text", "binary", "resp", "inline")


def goodbye(scenario, protocol, **options):
    return compare([program("goodbyes"), scenario, "{0}", "0", protocol], "commands", **options)


def unsaid(scenario, protocol):
    plain, pooled = goodbye(scenario, protocol)
    expect(plain.connections == LIVES, f"{plain.connections} connections without")
    expect(pooled.connections == 1, f"{pooled.connections} connections with: {pooled.stats}")
    asked = pooled.log[0].asked
    expect(asked == [plain.log[0].asked[0]] * LIVES, f"the server was told {asked}")


def said(scenario, protocol, **options):
    """The server was told the same."""
    logs = [[(one.asked, one.late) for one in result.log]
            for result in goodbye(scenario, protocol, **options)]
    expect(logs[0] == logs[1], f"without: {logs[0]}\nwith: {logs[1]}")


# scenarios of programs/goodbyes.c
UNSAID = ["lives", "lives_by_write", "lives_shut_down", "lives_in_set"]
SAID = ["reads", "polls", "selects", "waits_by_epoll", "shuts_down_and_reads", "looks_how_much",
        "sleeps", "opens_another", "forks", "in_two_pieces", "by_vector", "after_another",
        "while_busy", "before_another", "twice", "at_first", "with_more_to_come", "to_duplicate"]

for protocol in PROTOCOLS:
    for scenario in UNSAID:
        claim(f"a goodbye before close() is not said: {scenario} ({protocol})")(
            functools.partial(unsaid, scenario, protocol))
    for scenario in SAID:
        claim(f"a goodbye is said where it matters: {scenario} ({protocol})")(
            functools.partial(said, scenario, protocol))
    claim(f"a goodbye before the process ends: nobody sees a difference ({protocol})")(
        functools.partial(goodbye, "exits", protocol))
    for scenario in "lives", "lives_shut_down":
        claim(f"SP_DEFER_QUIT=0: every goodbye is said: {scenario} ({protocol})")(
            functools.partial(said, scenario, protocol, env={"SP_DEFER_QUIT": "0"}))


if __name__ == "__main__":
    main(JOBS)
