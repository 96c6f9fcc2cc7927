#!/usr/bin/env python3
"""Clients as they are, against a running server: load.py PORT SECONDS CLIENTS [PID]

Each client asks, streams, leaves in the middle, sends nonsense, and connects again. Every answer that comes to its end
is compared with the one that the same request (prompt, seed) got alone before: a token lost, or of another's answer,
shows. With the front door's PID its memory is printed through the run. The last line counts rows.
"""
import collections, http.client, json, random, sys, threading, time

port, seconds, clients = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
pid = sys.argv[4] if len(sys.argv) > 4 else None
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


def client(number, until):
    rng = random.Random(number)
    while time.time() < until:
        key = rng.choice(list(alone))
        try:
            kind = rng.random()
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


def memory():
    return sum(int(line.split()[1]) for line in open(f"/proc/{pid}/status") if line.startswith("RssAnon"))


alone = {(p, s): whole(p, s) for p in PROMPTS for s in range(3)}
until = time.time() + seconds
threads = [threading.Thread(target=client, args=(i, until)) for i in range(clients)]
for t in threads:
    t.start()
sizes = []
while time.time() < until:
    time.sleep(min(5, seconds / 10))
    if pid:
        sizes.append(memory())
for t in threads:
    t.join()
print(dict(count), "memory of the front door in KiB:", sizes[:: max(1, len(sizes) // 12)])
for line in wrong[:5]:
    print("FAILED", line)
grown = bool(sizes) and sizes[-1] > sizes[len(sizes) // 6] * 1.01 + 1024
if grown:
    print(f"FAILED memory grew: {sizes}")
print(f"{count['answers'] - len(wrong)} passed, {len(wrong) + grown} failed, 0 skipped")
sys.exit(bool(wrong) or grown)
