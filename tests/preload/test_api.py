#!/usr/bin/python3
"""Programs that know of the library: sppool.h, where it is there and where it is not."""

import subprocess
import tempfile

from harness import ROOT, claim, expect, main, program, run

FETCHES = ["connect: 0", "GET: 200, ", "close: 0"] * 3


def lines_of(name, preload):
    result = run([program(name), "localhost", "{0}"], preload=preload)
    expect(result.status == 0, f"exit status {result.status}\n{result}")
    return result, result.stdout.decode().splitlines()


def check_fetches(lines):
    for line, expected in zip(lines, FETCHES):
        expect(line.startswith(expected), f"{line}, not {expected}")


def is_the_same_without(name):
    result, lines = lines_of(name, preload=False)
    check_fetches(lines)
    expect(len(lines) == len(FETCHES), "\n".join(lines))
    expect(result.connections == 3, f"{result.connections} connections without the library")


def speaks_to_the_library(name):
    result, lines = lines_of(name, preload=True)
    version = (ROOT / "meson.build").read_text(encoding="utf-8").split("version: '")[1]
    expect(lines[0] == f"libsppool {version.split(chr(39))[0]}", lines[0])
    expect(lines[1:3] == ["set the limit: 0", "set the idle time: 0"], "\n".join(lines[:3]))
    check_fetches(lines[3:12])
    limits = "limit 4, idle time 5000"
    expected = [
        "find: 0",
        f"{limits}, connections 1, opened 1, reused 2, idle",
        "close: 1",
        "find: 0",
        f"{limits}, connections 0, opened 1, reused 2, idle",
    ]
    expect(lines[12:] == expected, "\n".join(lines[12:]))
    expect(result.connections == 1, f"{result.connections} connections with the library")


@claim("a program that knows of the library does without it where it is absent")
def weak_and_absent():
    is_the_same_without("example")


@claim("and finds, sets and closes its service point where it is there")
def weak_and_present():
    speaks_to_the_library("example")


@claim("without position independent code, by dlsym(): the same where it is absent")
def by_name_and_absent():
    is_the_same_without("example-by-name")


@claim("and where it is there")
def by_name_and_present():
    speaks_to_the_library("example-by-name")


@claim("C++ compilers, and strict C ones, understand sppool.h")
def header():
    source = '#include "sppool.h"\nint main(void) { return sppool_is_present(); }\n'
    for command in (["c++", "-x", "c++", "-std=c++11"], ["cc", "-x", "c", "-std=c99"]):
        with tempfile.NamedTemporaryFile() as result:
            compiled = subprocess.run(
                [*command, "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I", ROOT / "shim",
                    "-o", result.name, "-"],
                input=source, stderr=subprocess.PIPE, text=True, check=False)
        expect(compiled.returncode == 0, f"{command}: {compiled.stderr}")


if __name__ == "__main__":
    main()
