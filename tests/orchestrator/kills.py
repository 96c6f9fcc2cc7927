#!/usr/bin/env python3
"""Ends processes of `hearth serve` with kill -9 at random moments: kills.py HEARTH MODEL BIG_MODEL KILLS LIMIT_S

Three answers are under way each time. Each comes whole, with the bits it has undisturbed, or ends with an error its
client can see; health is good again within LIMIT_S, and the next answer has the same bits. The orchestrator is started
again by its parent, as systemd would. BIG_MODEL takes long enough to pack for the packer to be met at its work.
"""
import os, random, signal, sys, threading, time
from serving import KINDS, Server, children, comm
from asking import check, done

hearth, model, big = sys.argv[1:4]
kills, limit_s = int(sys.argv[4]), float(sys.argv[5])
rng = random.Random(20261123)
ASKS = [{"seed": 7, "max_tokens": 300}, {"seed": 8, "max_tokens": 300}, {"seed": 9, "max_tokens": 200}]
TARGETS = ["hearth-front"] * 4 + ["orchestrator"] * 3 + ["hearth-engine"] * 2 + ["hearth-text"]
times, seen = {}, set()
outcomes = {"whole": 0, "error": 0}


def note(target, took, i):
    """Whether health came back, and in time."""
    if check(took is not None, f"kill {i} of {target}: health is good again"):
        times.setdefault(target, []).append(took)


def ask_all(server):
    """Starts the answers; returns their threads and where their ends will stand."""
    ends = [None] * len(ASKS)

    def one(i):
        ends[i] = (server.whole if i == 2 else server.stream)(**ASKS[i])

    threads = [threading.Thread(target=one, args=(i,)) for i in range(len(ASKS))]
    for t in threads:
        t.start()
    return threads, ends


def workers():
    s = Server(hearth, model)
    if not check(s.wait_healthy() is not None, "the server is healthy", s.said()):
        return
    since = time.time()
    want = [s.stream(**ask)[1] for ask in ASKS]
    alone_s = (time.time() - since) / len(ASKS)
    for i in range(kills - kills // 5):
        target = rng.choice(TARGETS)
        threads, ends = ask_all(s)
        time.sleep(rng.random() * 2 * alone_s)
        pid = s.process(target)
        seen.update(children(s.p.pid))
        if pid == 0:
            check(False, f"kill {i}: no process {target}", s.said()[-300:])
            break
        os.kill(pid, signal.SIGKILL)
        note(target, s.wait_healthy(without=(target, pid)), i)
        for t in threads:
            t.join()
        for end, text in zip(ends, want):
            outcomes[end[0]] += 1
            if end[0] == "whole":
                check(end[1] == text, f"kill {i} of {target}: a whole answer has its bits", end)
        again = s.whole(**ASKS[0])
        check(again == ("whole", want[0]), f"kill {i} of {target}: the next answer has the same bits", again)
        time.sleep(0.25)  # no three short lives in a row: that is a process that can not live, and is given up
    seen.update(children(s.p.pid))
    check(s.stop() == 0, "the server ends", s.said()[-300:])
    # A process that dies with its starter is gone once the kernel has torn its namespaces down.
    until = time.time() + 10
    while any(comm(p) in KINDS for p in seen) and time.time() < until:
        time.sleep(0.05)
    left = [p for p in seen if comm(p) in KINDS]
    check(not left, "nothing is left behind", left)


def packers():
    met = 0
    s = Server(hearth, big)
    took = s.wait_healthy(120)
    check(took is not None, "the big model is served", s.said())
    for i in range(kills // 5):
        s.stop()
        s = Server(hearth, big)
        until = time.time() + 30
        while (pid := s.process("hearth-packer")) == 0 and time.time() < until:
            time.sleep(0.001)
        time.sleep(rng.random() * took / 4)
        if pid in children(s.p.pid):
            os.kill(pid, signal.SIGKILL)
            met += 1
        note("hearth-packer", s.wait_healthy(), i)
        check(s.starts == 1, "the packer's end is not the server's", s.said())
    s.stop()
    print(f"the packer was met at its work {met} of {kills // 5} times")
    check(met >= kills // 20, f"the packer was met at its work {met} of {kills // 5} times")


workers()
packers()
for target, took in sorted(times.items()):
    print(f"{target}: {len(took)} kills, health good again in {sum(took) / len(took) * 1e3:.0f} ms on average, "
          f"{max(took) * 1e3:.0f} at worst")
    check(max(took) < limit_s, f"{target}: health good again within {limit_s} s", max(took))
print(f"answers under way at a kill: {outcomes['whole']} whole with the same bits, {outcomes['error']} errors")
sys.exit(done())
