"""multiprocessing: processes, a pool, queues and pipes, while connections are live and parked."""

import multiprocessing

import requests_of
from requests_of import get, say


def answer(name):
    return f"{name} {get(name)}"


def converse(pipe, queue, name):
    for i in range(pipe.recv()):
        queue.put((name, i, answer(f"{name}-{i}")))
    pipe.send(f"{name} is done")


def main(method):
    context = multiprocessing.get_context(method)
    for i in range(5):
        say(f"before-{i}")
    kept = requests_of.Open()
    kept.say("kept-0")

    queue, pipes, processes = context.Queue(), [], []
    for name in ("one", "two", "three"):
        ours, theirs = context.Pipe()
        processes.append(context.Process(target=converse, args=(theirs, queue, name)))
        processes[-1].start()
        pipes.append(ours)
    kept.say("kept-1")
    for pipe in pipes:
        pipe.send(5)
    for entry in sorted(queue.get() for _ in range(15)):
        print(*entry)
    for pipe, process in zip(pipes, processes):
        print(pipe.recv())
        process.join()
        print(process.exitcode)

    say("between")
    with context.Pool(3) as pool:
        kept.say("kept-2")
        for line in pool.imap(answer, [f"pool-{i}" for i in range(40)], chunksize=4):
            print(line)
    kept.say("kept-3")
    kept.close()
    for i in range(5):
        say(f"after-{i}")


if __name__ == "__main__":
    import sys

    main(sys.argv[2])
