#!/usr/bin/env python3
"""Several models in the memory of one, and a policy that changes: models.py HEARTH MODEL

Copies of one small model under several names: whatever comes and goes, each answer is the text that the model gives
alone. The last line counts the rows.
"""
import atexit, http.client, json, os, re, shutil, signal, subprocess, sys, tempfile, threading, time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from asking import Asked, check, done, free_port, soon

hearth, model = sys.argv[1], sys.argv[2]
tmp = tempfile.mkdtemp(prefix="hearth-models-")
os.environ["HEARTH_KEYS"] = tmp + "/keys"
atexit.register(lambda: shutil.rmtree(tmp, ignore_errors=True))


class Server(Asked):
    def __init__(self, models, *args, config="", health=True):
        self.port = free_port()
        open(tmp + "/conf", "w").write("[server]\nsocket = none\n" + config)
        self.log = open(tmp + "/log", "w+")
        self.p = subprocess.Popen([hearth, "serve", *models, "--port", str(self.port), "--config", tmp + "/conf", *args],
                                  stderr=self.log)
        atexit.register(self.p.kill)
        soon(lambda: self.p.poll() is not None or self.ask("GET", "/health")[0] == 200, 30)

    def complete(self, name, **more):
        r = self.ask("POST", "/v1/completions", {"model": name, "prompt": "Once upon a time", "max_tokens": 24, "seed": 7,
                                                 **more})
        return r[1]["choices"][0]["text"] if r[0] == 200 else r

    def loaded(self):
        return sorted(m["name"] for m in self.ask("GET", "/api/ps")[1]["models"])

    def ps(self):
        return {m["name"]: m for m in self.ask("GET", "/api/ps")[1]["models"]}


def place(name):
    path = f"{tmp}/{name}.gguf"
    shutil.copy(model, path)
    return path


a, b, c = place("a"), place("b"), place("c")
CTX = ("--ctx", "256", "--parallel", "2")
s = Server([a], *CTX)
alone = s.complete("a")
check(isinstance(alone, str) and len(alone) > 10, "an answer of one model alone", alone)
one = s.ps()["a"]
need = one["size"] + one["plan_bytes"]
check(one["plan_bytes"] > 100000 and one["expires_at"] > "2900", "its plan's bytes, and that it stays", one)
check(s.stop() == 0, "and it ends", s.said())

# ---- room for one of three ----
room = need + need // 2
s = Server([a, b, c], *CTX, "--memory", str(room))
check(s.loaded() == ["a"] and len(re.findall(rf"model [bc]: it needs {need} bytes, \d+ of {room} are free", s.said())) == 2,
      "the first is loaded, the others do not fit beside it: said with the numbers", s.said())
check(s.complete("b") == alone and s.loaded() == ["b"], "one that is asked for is loaded, the idle one goes",
      (s.loaded(), s.said()))
check(s.complete("a") == alone and s.loaded() == ["a"], "and back", (s.loaded(), s.said()))
names = [m["id"] for m in s.ask("GET", "/v1/models")[1]["data"] if m["meta"]["loaded"]]
check(names == ["a"] and len(s.ask("GET", "/v1/models")[1]["data"]) == 3, "all are listed, one is loaded", names)

answers = {}


def client(i):
    for j in range(4):
        answers[i, j] = s.complete("abc"[(i + j) % 3], seed=7)


threads = [threading.Thread(target=client, args=(i,)) for i in range(9)]
[t.start() for t in threads]
[t.join() for t in threads]
check(len(answers) == 36 and all(t == alone for t in answers.values()),
      "nine clients that change models all the time: each gets its answer", [t for t in answers.values() if t != alone][:2])

stream = http.client.HTTPConnection("127.0.0.1", s.port, timeout=60)
s.complete("a")
stream.request("POST", "/v1/completions", json.dumps({"model": "a", "prompt": "Once upon a time", "max_tokens": 200,
                                                      "seed": 7, "stream": True, "ignore_eos": True}))
response = stream.getresponse()
first = response.readline()
got = []
other = threading.Thread(target=lambda: got.append(s.complete("b")))
other.start()
rest = response.read().decode()
other.join()
made = "".join(json.loads(l[6:])["choices"][0]["text"] for l in (first.decode() + rest).split("\n") if l.startswith("data: {"))
check(rest.strip().endswith("[DONE]") and made.startswith(alone[:20]) and got == [alone],
      "a model that answers is not taken away; who needs its room waits", (made[-50:], got))

# ---- keeping ----
r = s.ask("POST", "/api/generate", {"model": "a", "prompt": "Once", "stream": False, "keep_alive": "1s",
                                    "options": {"num_predict": 4}})
check(r[0] == 200 and s.ps()["a"]["expires_at"] < "2900", "keep_alive of an answer is told", (r, s.ps()))
check(soon(lambda: s.loaded() == [], 4) and s.ask("GET", "/health")[0] == 200, "and kept: it goes a second later", s.said())
r = s.ask("POST", "/api/generate", {"model": "b", "stream": False})
check(r[0] == 200 and r[1]["done_reason"] == "load" and s.loaded() == ["b"], "an empty prompt loads", r)
r = s.ask("POST", "/api/generate", {"model": "b", "keep_alive": 0, "stream": False})
check(r[0] == 200 and r[1]["done_reason"] == "unload" and soon(lambda: s.loaded() == []), "and with 0 lets go", r)
check(s.ask("POST", "/api/chat", {"model": "c", "messages": [], "keep_alive": "soon"})[0] == 400, "no time at all: 400")
check(s.ask("POST", "/models/load", {"model": "c"})[0] == 200 and s.loaded() == ["c"], "/models/load waits for it")
check(s.ask("POST", "/models/load", {"model": "nobody"})[0] == 404, "an unknown one: 404")


def command(*words):
    return subprocess.run([hearth, *words, "--port", str(s.port)], capture_output=True, text=True,
                          env={**os.environ, "HEARTH_MODELS": tmp})


check(re.search(r"^c +\d+ +\d+ +256  another needs", command("ps").stdout, re.M), "hearth ps", command("ps"))
listed = command("list").stdout
check(re.search(r"^c.gguf +\d+  loaded", listed, re.M) and re.search(r"^a.gguf +\d+  served", listed, re.M), "hearth list",
      listed)
check(command("stop", "c").returncode == 0 and soon(lambda: s.loaded() == []), "hearth stop MODEL", s.said())
check(command("stop", "nobody").returncode == 1, "of no model: an error")
own = {"x-api-key": subprocess.run([hearth, "key", "add", "ann"], capture_output=True, text=True).stdout.strip()}
check(soon(lambda: s.ask("GET", "/v1/models")[0] == 401), "a key is needed now")
check(s.ask("POST", "/models/load", {"model": "c"}, own)[0] == 403 and
      s.ask("POST", "/api/generate", {"model": "c"}, own)[0] == 403, "a user's key loads no model by itself")
r = s.ask("POST", "/api/generate", {"model": "c", "prompt": "Once", "stream": False, "keep_alive": 0,
                                    "options": {"num_predict": 4}}, own)
check(r[0] == 200 and s.ask("GET", "/api/ps", headers=own)[1]["models"], "but may ask one, and can not send it away", r)
os.remove(tmp + "/keys")
check(s.stop() == 0, "and it ends", s.said())

# ---- what never fits, what is broken ----
huge, bad = tmp + "/huge.gguf", tmp + "/bad.gguf"
shutil.copy(model, huge)
os.truncate(huge, 1 << 40)
data = bytearray(open(model, "rb").read())
data[40:60] = b"\xff" * 20
open(bad, "wb").write(data)
s = Server([a, huge, bad], *CTX, "--memory", str(room), config="preload = no\nkeep = 1\n")
check(s.loaded() == [] and s.ask("GET", "/health")[0] == 200, "nothing is loaded before it is asked for", s.said())
r = s.ask("POST", "/v1/completions", {"model": "huge", "prompt": "a"})
check(r[0] == 507 and str(1 << 40) in str(r[1]) and str(room) in str(r[1]), "one that never fits: 507 with both numbers", r)
for _ in range(2):
    r = s.ask("POST", "/v1/completions", {"model": "bad", "prompt": "a"})
    check(r[0] == 500 and tmp not in str(r[1]), "a broken file: an error without its path", r)
check(s.said().count("bad.gguf: ") == 1, "is tried once, and named in the log", s.said())
check(s.complete("a") == alone, "and the others go on", s.said())
shutil.copy(model, bad)
check(s.complete("bad") == alone, "a file that was repaired is tried again", s.said())
check(soon(lambda: s.loaded() == [], 4), "keep of the configuration: a second")
os.kill([int(p) for p in open(f"/proc/{s.p.pid}/task/{s.p.pid}/children").read().split()][-1], signal.SIGKILL)
time.sleep(0.3)
check(soon(lambda: s.complete("a") == alone, 20), "the front door killed while none is loaded: the next one loads", s.said())
check(s.stop() == 0, "and it ends", s.said())

# ---- a policy that changes ----
policy = tmp + "/policy"


def allow(*paths, text=None):
    with open(policy, "w") as f:
        f.write(text if text is not None else "[models]\n" + "".join(f"allow = {p}\n" for p in paths))


def reload():
    before = len(s.said())
    s.p.send_signal(signal.SIGHUP)
    soon(lambda: re.search("policy", s.said()[before:]), 3)
    time.sleep(0.3)
    return s.said()[before:]


allow(a, b)
s = Server([a, b], *CTX, "--policy", policy)
check(s.loaded() == ["a", "b"], "a policy that allows both", s.said())
allow(text="[models]\nalow = /x\n")
said = reload()
check(said.count("\n") == 1 and "alow" in said and "stays as it was" in said, "a broken one: one line", said)
check(s.complete("a") == alone and s.complete("b") == alone, "and the old one holds", s.said())
os.rename(policy, policy + ".away")
said = reload()
check(said.count("\n") == 1 and "stays as it was" in said, "one that is gone: one line", said)
stream = http.client.HTTPConnection("127.0.0.1", s.port, timeout=60)
stream.request("POST", "/v1/completions", json.dumps({"model": "b", "prompt": "Once upon a time", "max_tokens": 250, "n": 8,
                                                      "stream": True}))
response = stream.getresponse()
response.readline()
allow(a)
said = reload()
rest = response.read().decode()
check("read again" in said and re.search(r"b\.gguf: policy .* does not allow it", said) and s.loaded() == ["a"],
      "a model that is no longer allowed leaves memory", (said, s.loaded()))
check("policy does not allow" in rest, "its answers end with an error that says so", rest[-300:])
r = s.ask("POST", "/v1/completions", {"model": "b", "prompt": "a"})
check(r[0] == 403 and "policy" in str(r[1]) and tmp not in str(r[1]), "who asks for it gets 403", r)
check(s.complete("a") == alone, "the other one goes on")
allow(b)
reload()
check(s.loaded() == [] and s.ask("POST", "/v1/completions", {"model": "a", "prompt": "a"})[0] == 403 and
      s.complete("b") == alone, "the other way round: b is loaded when it is asked for", s.said())
check(s.stop() == 0, "and it ends", s.said())
allow(b)
s = Server([a], *CTX, "--policy", policy)
check(s.p.wait(20) == 1 and "does not allow it" in s.said(), "a start with one that is not allowed: exit 1", s.said())
sys.exit(done())
