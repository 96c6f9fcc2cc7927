#!/usr/bin/env python3
"""Clients as they are, against a running server: load.py PORT SECONDS CLIENTS [PID,PID,... [PAUSE]]

Each client asks, streams, leaves in the middle, breaks off in a head, sends nonsense, stays for several requests, and
connects again. Every answer that comes to its end is compared with the one that the same request (prompt, seed) got
alone before: a token lost, or of another's answer, shows. The anonymous memory of the processes PID is printed through
the run; growth after its first sixth, 10 minutes at most, over 1% + 1 MiB fails. PAUSE: seconds a client waits on average
between requests (0). The last line counts rows.
"""
import collections, http.client, json, random, socket, sys, threading, time

port, seconds, clients = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
pids = sys.argv[4].split(",") if len(sys.argv) > 4 and sys.argv[4] else []
pause = float(sys.argv[5]) if len(sys.argv) > 5 else 0
PROMPTS = ["Once upon a time", "The little dog", "Tom and Sue", "One day, a big"]
count = collections.Counter()
wrong = []


def body(prompt, seed, stream):
    return json.dumps({"prompt": prompt, "seed": seed, "max_tokens": 24, "temperature": 0.8, "stream": stream})


def whole(prompt, seed):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    c.request("POST", "/v1/completions", body(prompt, seed, False))
    r = json.loads(c.getresponse().read())
    c.close()
    return r["choices"][0]["text"] if "choices" in r else None


def stream(prompt, seed, leave):
    """The text, or None where the client left in the middle."""
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    c.request("POST", "/v1/completions", body(prompt, seed, True))
    r, text, lines = c.getresponse(), "", 0
    if r.status != 200:
        r.read()
        c.close()
        return None
    while True:
        line = r.readline()
        if not line or line.startswith(b"data: [DONE]"):
            break
        if line.startswith(b"data: {"):
            text += json.loads(line[6:])["choices"][0]["text"]
        lines += 1
        if leave and lines > 5:
            c.close()
            return None
    c.close()
    return text


def nonsense():
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    c.request("POST", random.choice(["/v1/chat/completions", "/api/chat", "/v1/messages"]),
              random.choice(["{", "[]", '{"messages": 5}', '{"model": "nobody", "messages": []}']))
    status = c.getresponse().status
    c.close()
    return status in (400, 404)


def half(rng):
    """A head, or a body, that never comes to its end."""
    with socket.create_connection(("127.0.0.1", port), timeout=120) as c:
        text = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{\"prompt\": \"Once"
        c.sendall(text[:rng.randrange(1, len(text))])


def several(keys):
    """Requests over one connection."""
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    for key in keys:
        c.request("POST", "/v1/completions", body(*key, False))
        text = json.loads(c.getresponse().read())["choices"][0]["text"]
        count["answers"] += 1
        if text != alone[key]:
            wrong.append(f"{key}: {text!r}, alone {alone[key]!r}")
    c.close()


def client(number, until):
    rng = random.Random(number)
    while time.time() < until:
        key = rng.choice(list(alone))
        if pause:
            time.sleep(rng.random() * 2 * pause)
        try:
            kind = rng.random()
            if kind > 0.95:
                count["broken off"] += 1
                half(rng)
                continue
            if kind > 0.9:
                several(rng.choices(list(alone), k=3))
                continue
            if kind < 0.1:
                count["nonsense"] += 1
                if not nonsense():
                    wrong.append("nonsense was answered")
                continue
            text = stream(*key, kind < 0.3) if kind < 0.7 else whole(*key)
            count["left" if text is None else "answers"] += 1
            if text is not None and text != alone[key]:
                wrong.append(f"{key}: {text!r}, alone {alone[key]!r}")
        except Exception as e:  # a connection that breaks is counted: none may
            wrong.append(f"{key}: {type(e).__name__} {e}")


def memory(pid):
    return sum(int(line.split()[1]) for line in open(f"/proc/{pid}/status") if line.startswith("RssAnon"))


alone = {(p, s): whole(p, s) for p in PROMPTS for s in range(3)}
until = time.time() + seconds
threads = [threading.Thread(target=client, args=(i, until)) for i in range(clients)]
for t in threads:
    t.start()
sizes, begun = {p: [] for p in pids}, time.time()
every = min(5, seconds / 12)
while time.time() < until:
    time.sleep(every)
    for p in pids:
        sizes[p].append(memory(p))
for t in threads:
    t.join()
print(f"{time.time() - begun:.0f} s of {clients} clients:", dict(count))
settled = int(min(600, seconds / 6) / every)
grown = 0
for p, of in sizes.items():
    name = open(f"/proc/{p}/comm").read().strip()
    print(f"memory of {name} in KiB: {of[:: max(1, len(of) // 12)]}, most after the begin {max(of[settled:])}")
    if max(of[settled:]) > of[settled] * 1.01 + 1024:
        grown += 1
        print(f"FAILED {name} grew")
for line in wrong[:5]:
    print("FAILED", line)
print(f"{count['answers'] - len(wrong)} passed, {len(wrong) + grown} failed, 0 skipped")
sys.exit(bool(wrong) or bool(grown))
