#!/usr/bin/python3
"""That the calls that wait do not tell of the end of a reused connection that can be renewed.

Every connection but the first to an address is closed, or reset, in place of the answer to its
second request, and only a reused one has such a request. Without the library none is."""

import functools

from harness import claim, compare, expect, main, program

CALLS = 9  # of programs/waiting.c


def wait(scenario, cases):
    plain, pooled = compare(
        [program("waiting"), scenario, "{0}", "{1}"], ["stale@0.0.0.0", "control"])
    # one for the first request to each address, and a second one; which is reused, and renewed
    expect(plain.connections == 2 * cases, f"{plain.connections} connections without")
    expect(pooled.connections == 2 * cases, f"{pooled.connections} connections with")
    expect(plain.requests == 2 * cases, f"{plain.requests} requests without")
    expect(pooled.requests == 3 * cases, f"{pooled.requests} requests with")
    for verb in "reused", "replayed":
        expect(pooled.stats[verb] == cases, f"{verb} {cases} times: {pooled.stats}")


CLAIMS = [
    ("it is the answer that a call waits for, not the end", "answered", 4 * CALLS),
    ("a time limit holds while the new connection is silent", "silent", 4 * CALLS),
    ("a signal ends the wait for the new connection; the call's mask holds", "interrupted", CALLS),
    ("what else is ready is said, and nothing of the end", "beside", 2 * CALLS),
    ("poll() while another thread reads", "poll_while_another_reads", 1),
    ("select() while another thread reads", "select_while_another_reads", 1),
    ("epoll_wait() while another thread reads", "epoll_while_another_reads", 1),
]

for text, scenario, cases in CLAIMS:
    claim(text)(functools.partial(wait, scenario, cases))


if __name__ == "__main__":
    main()
