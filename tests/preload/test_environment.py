#!/usr/bin/python3
"""A process whose user, root, network, rights or neighbours are others than it was made for."""

import functools
import glob
import os
import re

from harness import (
    Skip, claim, compare, execute, expect, library, main, need, need_plain_library, opened, program,
    run,
)

CHANGES = """
setuid seteuid setreuid setresuid setgid setegid setregid setresgid setgroups initgroups
setfsuid setfsgid chroot
syscall_setuid syscall_setreuid syscall_setresuid syscall_setgid syscall_setregid
syscall_setresgid syscall_setgroups syscall_setfsuid syscall_setfsgid syscall_chroot
""".split()


def need_root():
    if os.geteuid() != 0:
        raise Skip("only root may do that")


def environment(*arguments, **options):
    return compare([program("environment"), arguments[0], "{0}", *arguments[1:]], **options)


def credentials(change):
    """Nothing that was opened before is used by who the process is now."""
    need_root()
    plain, pooled = opened(environment("credentials", change), 6, 3)
    before, kept, after = (
        {connection for name in names for connection in pooled.connection_of(f"/echo/{name}")}
        for names in (("before1", "before2"), ("before-kept", "still-kept"),
                      ("after1", "after2", "after3"))
    )
    expect(not after & (before | kept), f"of another time: {before}, {kept}, then {after}")
    expect(len(after) == 1, f"not pooled any more: {after}")
    if pooled.stats:  # not where its file is out of reach by now
        expect(pooled.stats["refused"].get("credentials") == 1, f"{pooled.stats}")
        expect(pooled.stats["discarded"].get("dropped") == 1, f"{pooled.stats}")


# These are for the thread that calls them, and the pool is for all.
OF_THREAD = [change for change in CHANGES if change.startswith(("setfs", "syscall_set"))]

for change in CHANGES:
    if change not in OF_THREAD:
        claim(f"{change}: another pool")(functools.partial(credentials, change))


def credentials_of_thread(change):
    """Its connections are none of the other threads', nor theirs its."""
    need_root()
    opened(environment("credentials_of_thread", change), 5, 5, at_least=5)


for change in OF_THREAD:
    claim(f"{change} in one thread: the pool is off")(
        functools.partial(credentials_of_thread, change)
    )


@claim("the list of changes above is the program's")
def all_changes():
    stdout, _, _ = execute([program("environment")], dict(os.environ))
    expect(stdout.decode().split() == CHANGES, f"{stdout.decode().split()}")


@claim("one user's connection is never another's, however often they take turns")
def flips():
    need_root()
    _, pooled = opened(environment("flips"), 80, 40)
    for connection in pooled.log:
        users = {asked for asked in connection.asked}
        expect(len(users) == 1, f"connection {connection.id}: {connection.asked}")


@claim("changes that are refused change nothing that the program can see")
def refused():
    need_root()
    environment("refused")


@claim("a daemon that shuts itself up in an empty directory, as nobody")
def empty_root():
    need_root()
    made = 'mkdir -m 755 "$1" && exec "$0" empty_root "$2" "$1"'
    argv = ["/bin/sh", "-c", made, program("environment"), "{scratch}/empty", "{0}"]
    plain, pooled = opened(compare(argv), 6, 2)
    expect(b"open: -1 ENOENT" in plain.stdout, f"{plain}")
    old = pooled.connection_of("/echo/before")
    expect(not set(old) & set(pooled.connection_of("/echo/after")), "root's connection")


# claim, scenario: each is a network that no connection of the old one reaches
NETWORKS = [
    ("unshare(CLONE_NEWNET)", "new_network"),
    ("unshare(CLONE_NEWNET) in one thread", "new_network_of_thread"),
    ("setns(), there and back", "set_network"),
]


def network(scenario):
    """Without the library, the program finds out itself that the old world is not there."""
    need_root()
    plain = run([program("environment"), scenario, "{0}"], preload=False)
    if b"unshare: -1 EPERM" in plain.stdout:
        raise Skip("no network namespaces here")
    plain, pooled = environment(scenario)
    expect(b"ECONNREFUSED" in plain.stdout, f"{plain}")
    expect(plain.requests == pooled.requests, f"{plain.requests} and {pooled.requests} requests")


for text, scenario in NETWORKS:
    claim(f"{text}: no connection of the old network")(functools.partial(network, scenario))


@claim("landlock: a process that may not connect does not")
def landlock():
    argv = [program("environment"), "landlock", "{0}"]
    plain = run(argv, preload=False)
    if b"no rules" in plain.stdout:
        raise Skip("this kernel's landlock has no rules for connect()")
    expect(plain.stdout.count(b"connect: -1 EACCES") == 2, f"{plain}")
    environment("landlock")


@claim("a thread with descriptors of its own")
def own_descriptors():
    environment("own_descriptors")


# ---- more rights than the user has ----

# In a mount namespace of its own, where a trusted directory has the library under another's name:
# so the loader takes it even for a program with more rights than its user.
TRUSTED = """
set -e
mount -t tmpfs -o mode=1777 tmpfs "$1"
cp "$2" "$1/program"
cp "$3" "$1/library"
chmod 4755 "$1/library"
chmod "$4" "$1/program"
mount --bind "$1/library" "$5"
cd "$1"
setpriv --reuid=65534 --regid=65534 --clear-groups \
    env LD_PRELOAD="${5##*/}" SP_STATS="$1/stats" SP_LOG=2 "$1/program" secure "$6"
if [ -e stats ]; then echo "statistics written"; fi
"""


def with_rights(mode):
    need_root()
    need_plain_library()
    place = glob.glob("/lib/*/libBrokenLocale.so.1")
    expect(place, "libc6 has no libBrokenLocale.so.1")
    argv = [need("unshare"), "-m", "/bin/sh", "-c", TRUSTED, "sh", "{scratch}",
            program("environment"), library(), mode, os.path.realpath(place[0]), "{0}"]
    result = run(argv, preload=False)
    expect(result.status == 0, f"exit status {result.status}: {result}")
    return result


@claim("the same program without more rights: it is pooled, logged and counted")
def plain_rights():
    result = with_rights("755")
    expect(b"AT_SECURE: 0" in result.stdout, f"{result}")
    expect(result.connections == 1, f"{result.connections} connections: not loaded at all")
    expect(b"statistics written" in result.stdout and "sppool" in result.stderr, f"{result}")


def more_rights(mode):
    result = with_rights(mode)
    expect(b"AT_SECURE: 1" in result.stdout, f"{result}")
    expect(result.connections == 5, f"{result.connections} connections, 5 expected")
    expect(b"statistics written" not in result.stdout, "SP_STATS was obeyed")
    expect(not result.stderr, f"SP_LOG was obeyed: {result.stderr}")


claim("setuid: the environment is ignored, and the pool is off")(
    functools.partial(more_rights, "4755")
)
claim("setgid: the environment is ignored, and the pool is off")(
    functools.partial(more_rights, "2755")
)


# ---- sandboxes ----

# system calls that the library may want and this program does without
DENIED = """
fstat getpid gettid clock_gettime dup3 fcntl getsockopt setsockopt epoll_ctl recvfrom prlimit64
sched_yield mmap madvise futex poll rt_sigprocmask
""".split()
SEEN = ("prctl", "syscall", "syscall_prctl")


def sandbox(scenario, way, *calls):
    need_plain_library()
    return compare([program("sandbox"), scenario, "{0}", way, *calls])


def refuses(*calls):
    """Whether it was seen to be made or not, and with either error that a sandbox gives."""
    for way in ("prctl", "inline"):
        for scenario in ("refuse", "refuse_unknown", "refuse_early"):
            sandbox(scenario, way, *calls)


def older(*calls):
    sandbox("before_exec", "prctl", *calls)


def kills(*calls):
    for way in SEEN:
        sandbox("kill", way, *calls)


def traps(*calls):
    for way in SEEN:
        plain, _ = sandbox("trap", way, *calls)
        expect(b"traps: 0" in plain.stdout, f"the program needs it itself: {plain}")


for call in DENIED:
    claim(f"a sandbox that refuses {call}")(functools.partial(refuses, call))
    claim(f"a sandbox that kills for {call}: no call of ours is made")(
        functools.partial(kills, call)
    )
claim("a sandbox that refuses all of these")(functools.partial(refuses, *DENIED))
claim("a sandbox that kills for any of these")(functools.partial(kills, *DENIED))
claim("a sandbox that makes signals of all of these")(functools.partial(traps, *DENIED))

@claim("a refusal of what the pool cannot do without turns it off")
def refusal_turns_off():
    for call in ("getsockopt", "fcntl", "dup3", "recvfrom"):
        _, pooled = sandbox("refuse", "inline", call)
        expect(not pooled.stats, f"{call} refused, and it is still on: {pooled.stats}")


# what the loader itself needs is left out
for call in DENIED:
    if call not in ("mmap", "clock_gettime", "futex"):
        claim(f"a sandbox older than the program that refuses {call}")(
            functools.partial(older, call)
        )


@claim("strict mode, in which only read and write are left")
def strict():
    for way in SEEN:
        plain, _ = sandbox("strict", way)
        expect(plain.stdout.count(b"HTTP/1.1 200 OK") == 3, f"{plain}")


@claim("once a sandbox is made nothing is parked any more")
def sandbox_turns_off():
    for way in SEEN:
        _, pooled = sandbox("refuse", way, "poll")
        expect(pooled.connections == 7, f"{way}: {pooled.connections} connections, 7 expected")


# ---- other preloaded libraries ----


def chain(*names):
    need_plain_library()
    found = []
    for name in names:
        paths = [name] if name == "{library}" else glob.glob(name)
        if not paths:
            raise Skip(f"{name} is not installed")
        found.append(paths[0])
    argv = [program("get"), "GET", "{0}", "/bytes/100", "20"]
    opened(compare(argv, env={"LD_PRELOAD": ":".join(found)}), 20, 1)


FAKETIME = "/usr/lib/*/faketime/libfaketime.so.1"
EATMYDATA = "/usr/lib/*/libeatmydata.so"
JEMALLOC = "/usr/lib/*/libjemalloc.so.2"
TCMALLOC = "/usr/lib/*/libtcmalloc_minimal.so.4"
FAKEROOT = "/usr/lib/*/libfakeroot/libfakeroot-sysv.so"

# jemalloc and libfaketime do not go together, with us or without us
claim("in the middle of four others")(
    functools.partial(chain, FAKETIME, EATMYDATA, "{library}", TCMALLOC, FAKEROOT)
)
claim("in the middle of three others")(
    functools.partial(chain, FAKEROOT, JEMALLOC, "{library}", EATMYDATA)
)


@claim("together with the address sanitizer's runtime, in either order")
def with_asan():
    need_plain_library()
    found, _, _ = execute([need("gcc"), "-print-file-name=libasan.so"], dict(os.environ))
    asan = found.decode().strip()
    argv = [program("get"), "GET", "{0}", "/bytes/100", "20"]
    for order in (f"{asan}:{{library}}", f"{{library}}:{asan}"):
        # told, it does not insist on being first
        env = {"LD_PRELOAD": order, "ASAN_OPTIONS": "verify_asan_link_order=0"}
        opened(compare(argv, env=env), 20, 1)


def counted(result):
    found = re.search(rb"connect: (\d+)\nclose: (\d+)\nfailed: (\d+)\n", result.stdout)
    expect(found, f"no counts: {result}")
    return [int(number) for number in found.groups()]


def count(order):
    need_plain_library()
    env = {"LD_PRELOAD": order, "COUNTING_OUTPUT": "{scratch}/output"}
    argv = [program("closers"), "dup_goes_on", "{0}"]
    plain, pooled = run(argv, preload=False, env=env), run(argv, env=env)
    expect(pooled.status == plain.status == 0, f"{plain}\n{pooled}")
    expect(plain.stdout.split(b"connect: ")[0] == pooled.stdout.split(b"connect: ")[0],
           "output differs")
    return counted(plain), counted(pooled), pooled.connections


@claim("a library above ours sees every connect() and close() of the program's")
def counting_above():
    plain, pooled, _ = count(f"{program('libcounting.so')}:{{library}}")
    expect(plain == pooled, f"connects, closes, failed: {plain} without, {pooled} with")


@claim("a library below ours sees the connections that are made, and closes that succeed")
def counting_below():
    plain, pooled, connections = count(f"{{library}}:{program('libcounting.so')}")
    connects, closes, failed = pooled
    expect(connects == connections, f"{connects} calls for {connections} connections")
    expect(closes <= plain[1], f"{closes} closes, {plain[1]} without the library")
    expect(failed == plain[2], f"{failed} that failed, {plain[2]} without the library")


@claim("connections in constructors, atexit handlers and destructors, on either side of ours")
def early():
    need_plain_library()
    beside = program("libearly.so")
    argv = [program("get"), "GET", "{0}", "/bytes/100", "3"]
    for order in (f"{{library}}:{beside}", f"{beside}:{{library}}"):
        plain, _ = compare(argv, env={"LD_PRELOAD": order, "EARLY_PORT": "{0}"})
        for when in ("constructor", "atexit", "destructor"):
            expect(f"{when}: 200, 100 bytes".encode() in plain.stdout, f"{when}: {plain}")


# ---- loaded in another way ----


@claim("the library stays when it is closed by dlclose()")
def no_delete():
    file = library().split(":")[-1]
    stdout, _, _ = execute([need("readelf"), "-d", file], dict(os.environ))
    expect(re.search(rb"FLAGS_1.*NODELETE", stdout), stdout.decode())


@claim("loaded and closed by hand, it neither helps nor harms")
def by_hand():
    need_plain_library()
    argv = [program("by_hand"), "{0}"]
    plain, loaded = run(argv, preload=False), run([*argv, library()], preload=False)
    expect(plain.status == 0, f"{plain}")
    expect(plain.stdout == loaded.stdout, f"output differs:\n{plain}\n{loaded}")
    expect(loaded.status == 0 and not loaded.stderr, f"{loaded}")


@claim("loaded and closed by hand, where it is preloaded already")
def by_hand_too():
    need_plain_library()
    opened(compare([program("by_hand"), "{0}", library()]), 7, 5)


if __name__ == "__main__":
    main()
