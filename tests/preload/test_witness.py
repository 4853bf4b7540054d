#!/usr/bin/python3
"""That the witness of descriptors, which is in every other test, notices what it is there for."""

import functools

from harness import Failure, check_same, claim, compare, expect, main, program, run


def visits():
    return [program("get"), "GET", "{0}", "/bytes/100", "3"]


# claim, what libleak does at the end of the run with the library
LEAKS = [
    ("one on a low number", "low"),
    ("one that is inherited", "inherited"),
    ("one that is no connection", "file"),
    ("one more than is parked", "parked"),
    ("one that the program had and has no more", "lost"),
    ("one of the program's that is another file", "changed"),
    ("a process that does not get to its end", "killed"),
]


def leaks(what):
    plain = run(visits(), preload=False)
    preloads = f"{program('libleak.so')}:{{library}}"
    pooled = run(visits(), env={"LD_PRELOAD": preloads, "LEAK": what})
    try:
        check_same(plain, pooled)
    except Failure as reason:
        expect("descriptors differ" in str(reason) or "seen to end" in str(reason), reason)
    else:
        raise Failure(f"not noticed: {[str(process) for process in pooled.witnessed]}")


for text, what in LEAKS:
    claim(f"noticed: {text}")(functools.partial(leaks, what))


@claim("parked connections are seen, at high numbers, and by the process itself alone")
def parked_is_seen():
    _, pooled = compare(visits())
    own, inherited = sorted(pooled.witnessed, key=lambda process: process.whose, reverse=True)
    expect((own.whose, inherited.whose) == ("own", "inherited"), f"{own}\n{inherited}")
    expect(inherited.parent == own.pid, "the inheritor is another's")
    expect(len(own.parkable) == 1, f"one connection is parked: {own}")
    expect(sorted(inherited.descriptors) == [0, 1, 2], str(inherited))


@claim("what a program leaves open is inherited, and its CLOEXEC ones are not")
def left_open():
    _, pooled = compare([program("leaves_open"), "{0}"])
    own, inherited = sorted(pooled.witnessed, key=lambda process: process.whose, reverse=True)
    kept = {number: kind for number, kind in own.descriptors.items() if "cloexec" not in kind}
    expect(inherited.descriptors == kept and len(kept) > 3, f"{own}\n{inherited}")
    expect(len(own.descriptors) > len(kept) + len(own.parkable) > len(kept), str(own))


# What it might disturb: a program's children, its limits, its first errno, numbers it has closed.
# @ marks a program of programs/.
UNDISTURBED = [
    ("who hears of children", ["@leaves_open", "{0}"]),
    ("a limit on files", ["prlimit", "--fsize=0:0", "@get", "GET", "{0}", "/bytes/100", "1"]),
    ("errno", ["@flags", "of_errno", "{0}"]),
    ("no standard streams",
     ["sh", "-c", 'exec "$0" "$@" <&- >&- 2>&-', "@no_stdio", "{0}", "{scratch}/output"]),
    ("a sandbox", ["@sandbox", "kill", "{0}", "fstat"]),
    ("another root", ["unshare", "-r", "chroot", "{scratch}", "/nothing"]),
]


def undisturbed(argv):
    argv = [program(word[1:]) if word.startswith("@") else word for word in argv]
    with_it = run(argv, preload=False)
    without = run(argv, preload=False, env={"LD_PRELOAD": ""})
    expect(not without.witnessed, "there is a witness")
    check_same(without, with_it, descriptors_vary="nobody says what they are")


for text, argv in UNDISTURBED:
    claim(f"the witness does not disturb: {text}")(functools.partial(undisturbed, argv))


if __name__ == "__main__":
    main()
