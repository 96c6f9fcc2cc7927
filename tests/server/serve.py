#!/usr/bin/env python3
"""What a new user would try with `hearth serve`, in its jails, with a real small model: serve.py HEARTH MODEL

Each row is a sentence; the last line counts them.
"""
import atexit, json, os, re, signal, socket, subprocess, sys, tempfile, threading, time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import graft
from asking import Asked, check, done, free_port, soon

hearth, model = sys.argv[1], sys.argv[2]
tmp = tempfile.mkdtemp(prefix="hearth-serve-")
os.environ["HEARTH_KEYS"] = tmp + "/keys"


class Server(Asked):
    def __init__(self, *args, wait=True, model=model):
        self.port, self.path = free_port(), tmp + "/hearth.sock"
        self.log = open(tmp + "/log", "w+")
        self.p = subprocess.Popen([hearth, "serve", model, "--port", str(self.port), "--socket", self.path, *args],
                                  stderr=self.log)
        atexit.register(self.p.kill)  # a test that breaks leaves no server behind
        for _ in range(300 if wait else 0):
            if self.ask("GET", "/health")[0] == 200 or self.p.poll() is not None:
                break
            time.sleep(0.1)

    def await_health(self):
        """After a worker was killed: until the server has noticed, and another one is there."""
        time.sleep(0.5)
        for _ in range(300):
            if self.ask("GET", "/health")[0] == 200:
                return
            time.sleep(0.1)

    def complete(self, **more):
        return self.ask("POST", "/v1/completions", {"prompt": "Once upon a time", "max_tokens": 24, "seed": 7, **more})

    def children(self):
        return [int(c) for c in open(f"/proc/{self.p.pid}/task/{self.p.pid}/children").read().split()]


def text_of(answer):
    return answer[1]["choices"][0]["text"] if answer[0] == 200 else answer


# ---- one server: answers, bits, limits, leaving ----
s = Server()
check(s.ask("GET", "/health")[0] == 200, "the server is healthy", s.said())
alone = text_of(s.complete())
check(isinstance(alone, str) and len(alone) > 10, "an answer", alone)
check(text_of(s.complete()) == alone, "the same seed, the same text")
check(s.ask("POST", "/v1/completions", {"prompt": "Once upon a time", "max_tokens": 24, "seed": 7}, unix=True)[0] == 200,
      "the Unix socket answers")
crowd = {}
threads = [threading.Thread(target=lambda i=i: crowd.update({i: text_of(s.complete(seed=7 + i % 3))})) for i in range(9)]
[t.start() for t in threads]
[t.join() for t in threads]
check(all(crowd[i] == alone for i in (0, 3, 6)), "the same text beside eight others", crowd)
several = s.complete(n=3)
check(several[0] == 200 and [c["text"] for c in several[1]["choices"]] == [crowd[0], crowd[1], crowd[2]],
      "n answers are those of seed, seed + 1, ...", several)
words = "the cat sat on the mat and " * 20
first, second = s.complete(prompt=words), s.complete(prompt=words)
cached = [a[1]["usage"]["prompt_tokens_details"]["cached_tokens"] for a in (first, second) if a[0] == 200]
check(len(cached) == 2 and cached[1] >= first[1]["usage"]["prompt_tokens"] - 64 and text_of(first) == text_of(second),
      "a prompt seen before is not computed again, and the bits stay", (cached, first, second))
s.complete(prompt="the cat sat on the mat and " * 10 + "a secret word that nobody may read " * 5)
told = None
for _ in range(30):  # a line goes through a pipe
    told = told or re.search(r"prefix: (\d+) tokens are kept from before, (\d+) are alike: token (\d+) is \d+ now and was \d+",
                             s.said()) or time.sleep(0.1)
check(told and told[2] == told[3] and 60 < int(told[2]) < int(told[1]), "the log names the first token that differed",
      s.said()[-300:])
check("secret" not in s.said() and "cat" not in s.said(), "and no text of anybody")
long = s.complete(prompt="word " * 4000)
check(long[0] == 400 and len(re.findall(r"\d+", long[1]["error"]["message"])) >= 2 and
      long[1]["error"]["code"] == "context_length_exceeded", "a prompt over the context: 400 with both numbers", long)
check(s.ask("POST", "/v1/embeddings", {"input": "a dog"})[0] == 200, "an embedding")
ids = s.ask("POST", "/tokenize", {"content": "a little dog"})[1]["tokens"]
check(s.ask("POST", "/detokenize", {"tokens": ids})[1]["content"].strip() == "a little dog", "tokens there and back", ids)
probs = s.complete(logprobs=2, max_tokens=4)
check(probs[0] == 200 and len(probs[1]["choices"][0]["logprobs"]["content"]) == 4, "log-probabilities", probs)
PERSON = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 9}, "age": {"type": "integer"}},
          "required": ["name", "age"], "additionalProperties": False}
form = {"type": "json_schema", "json_schema": {"name": "p", "schema": PERSON}}
shaped = s.complete(response_format=form, max_tokens=80)
person = json.loads(text_of(shaped)) if shaped[0] == 200 else {}
check(list(person) == ["name", "age"] and len(person["name"]) <= 9, "an answer in a schema's form", shaped)
check(text_of(s.complete(grammar='root ::= "yes" | "no"')) in ("yes", "no"), "and in a grammar's")
form["json_schema"]["schema"] = {"type": "array", "uniqueItems": True}
refused = s.complete(response_format=form)
check(refused[0] == 400 and "/uniqueItems" in refused[1]["error"]["message"], "what can not be enforced", refused)
check(s.ask("GET", "/v1/models", headers={"Host": "evil.example"})[0] == 421, "a rebound name")
check(s.ask("GET", "/v1/models", headers={"Origin": "https://evil.example"})[0] == 403, "a foreign page")

# Two conversations that begin differently take turns: neither drives the other out of the cache.
sides = ["You are a pirate who tells of the sea. " * 6, "You are a cook who tells of soup. " * 6]
turns = [s.complete(prompt=sides[i % 2] + "Well " * (i // 2), max_tokens=4) for i in range(8)]
kept = [t[1]["usage"]["prompt_tokens_details"]["cached_tokens"] for t in turns[2:] if t[0] == 200]
check(len(kept) == 6 and min(kept) > 60, "two conversations in turns: both stay cached", kept)

# The manual's example, as it is printed.
manual = open(os.path.join(os.path.dirname(__file__), "../../docs/serve.md")).read()
example = re.search(r"^curl .*$", manual, re.M)[0].replace("127.0.0.1:4327/v1/chat/completions",
                                                           f"127.0.0.1:{s.port}/v1/completions")
example = re.sub(r"-d '.*'", """-d '{"prompt": "Once", "max_tokens": 2}'""", example) # this model has no template
check('"choices"' in subprocess.run(["sh", "-c", example], capture_output=True, text=True).stdout, "curl of the manual",
      example)


def processor_s():
    """Of all processes of the server, so far."""
    return sum(float(open(f"/proc/{p}/schedstat").read().split()[0]) * 1e-9 for p in [s.p.pid] + s.children())


def leave(body, wait):
    with socket.create_connection(("127.0.0.1", s.port)) as c:
        text = json.dumps(body).encode()
        c.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(text) + text)
        if wait:
            c.recv(1000)


leave({"prompt": "Once", "stream": True, "max_tokens": 400, "n": 8}, True)
leave({"prompt": "word " * 250, "max_tokens": 250, "seed": 99}, False)
time.sleep(1)
before = processor_s()
time.sleep(0.5)
check(processor_s() - before < 0.05, "a second after clients left in an answer and in a prompt nothing computes",
      processor_s() - before)
def links(pid):
    found = set()
    for f in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.add(os.readlink(f"/proc/{pid}/fd/{f}"))
        except OSError:
            pass  # the one that lists them
    return found


held = {h for h in links(s.p.pid) - links("self") if h.startswith("/") and not h.startswith(("/dev/", "/memfd:"))}
check(held == set() and sorted(os.listdir(tmp)) == ["hearth.sock", "log"],
      "the model's file is let go once it is packed, and no other is made", (held, os.listdir(tmp)))

c = socket.create_connection(("127.0.0.1", s.port))
body = json.dumps({"prompt": "Once", "stream": True, "max_tokens": 400, "n": 4}).encode()
c.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
c.recv(1000)
c.close()
time.sleep(0.5)
inside = re.search(r"^hearth_requests_inside (\d+)", s.ask("GET", "/metrics")[1], re.M)
check(inside and inside[1] == "0", "who leaves in the middle ends the work", inside)

for pid in s.children():
    status = open(f"/proc/{pid}/status").read()
    check(re.search(r"^Seccomp:\s+2$", status, re.M) and re.search(r"^CapEff:\s+0+$", status, re.M),
          f"process {pid} stands behind its filter, without capabilities", status[-300:])
workers = s.children()
os.kill(workers[1], signal.SIGKILL)
s.await_health()
after = text_of(s.complete())
check(after == alone, "the engine killed: the next answer has the same bits", (after, s.said()[-200:]))
os.kill(s.children()[0], signal.SIGKILL)
s.await_health()
check(text_of(s.complete()) == alone, "the text worker killed: the same", s.said()[-300:])
check(subprocess.run([hearth, "ps", "--port", str(s.port)], capture_output=True).returncode == 0, "hearth ps")
check(subprocess.run([hearth, "stop", "--port", str(s.port)], capture_output=True).returncode == 0, "hearth stop")
try:
    check(s.p.wait(10) == 0, "the server ends, and says 0", s.said()[-300:])
except subprocess.TimeoutExpired:
    check(False, "hearth stop ends the server", s.said()[-300:])
    s.p.kill()
check(not os.path.exists(s.path), "its socket is taken away")

# ---- after a restart, with other numbers of threads and answers at once ----
s = Server("--threads", "1", "--parallel", "2", "--chunk", "7")
check(text_of(s.complete()) == alone, "the same text after a restart, with one thread and other chunks")
check(s.stop() == 0, "SIGTERM ends it with 0", s.said()[-300:])
second = tmp + "/second.gguf"
os.symlink(os.path.abspath(model), second)
s = Server(second)
names = [m["id"] for m in s.ask("GET", "/v1/models")[1]["data"]]
each = [text_of(s.complete(model=n)) for n in names]
check(each == [alone, alone], "two models, the same text of each", (names, each))
no = s.complete(model="nobody")
check(no[0] == 404 and all(n in str(no[1]) for n in names), "an unknown model: 404 with the list", no)
check(s.stop() == 0, "and it ends", s.said()[-300:])
tight = subprocess.run([hearth, "serve", model, "--port", str(free_port()), "--socket", "none", "--memory",
                        "2M", "--ctx", "512"], capture_output=True, text=True, timeout=60)
check(tight.returncode == 1 and len(re.findall(r"\d{4,}", tight.stderr)) >= 2,
      "a plan that does not fit: refused, with the numbers", tight.stderr)

# ---- a chat: forms, tools, streams; the same bits as `hearth run` with the same cache ----
chat = tmp + "/chat.gguf"
graft.graft(model, model, chat)
WEATHER = {"type": "function", "function": {"name": "weather", "strict": True, "parameters": {
    "type": "object", "properties": {"city": {"type": "string", "maxLength": 8}, "days": {"type": "integer", "minimum": 1,
    "maximum": 9}}, "required": ["city", "days"], "additionalProperties": False}}}
HELLO = [{"role": "user", "content": "hello"}]
texts = {}
for tier in ("f16", "q4"):
    s = Server("--kv", tier, model=chat)
    texts[tier] = text_of(s.complete(max_tokens=100, temperature=0))
    run = subprocess.run([hearth, "run", chat, "--raw", "-p", "Once upon a time", "-n", "100", "--temp", "0", "--kv", tier,
                          "--json"], capture_output=True, text=True)
    check(run.returncode == 0 and json.loads(run.stdout)["text"] == texts[tier],
          f"--kv {tier} reaches the engine: the text of hearth run with the same", (texts[tier], run.stdout, run.stderr))
    s.stop()
check(len(set(texts.values())) == 2, "and the tiers differ", texts)
s = Server(model=chat)


def chat_with(path="/v1/chat/completions", **more):
    return s.ask("POST", path, {"messages": HELLO, "max_tokens": 200, "seed": 1, **more})


def arguments_of(answer):
    try:
        calls = answer[1]["choices"][0]["message"]["tool_calls"]
        return [(c["function"]["name"], json.loads(c["function"]["arguments"])) for c in calls]
    except (KeyError, TypeError, ValueError, IndexError):
        return []


def is_weather(call):
    name, args = call
    return (name == "weather" and sorted(args) == ["city", "days"] and len(args["city"]) <= 8 and
            1 <= args["days"] <= 9 and isinstance(args["days"], int))


def content_of(answer):
    return answer[1]["choices"][0]["message"]["content"] if answer[0] == 200 else ""


form["json_schema"]["schema"] = PERSON
shaped = chat_with(response_format=form)
check(list(json.loads(content_of(shaped) or "{}")) == ["name", "age"], "a chat's answer in a schema's form, whole", shaped)
short = chat_with(response_format=form, max_tokens=30)
check(short[0] == 200 and list(json.loads(content_of(short))) == ["name", "age"], "closed within few tokens", short)
tiny = chat_with(response_format=form, max_tokens=3)
check(tiny[0] == 400 and len(re.findall(r"\d+", tiny[1]["error"]["message"])) >= 2,
      "what can not be closed within max_tokens is refused, with both numbers", tiny)
check(content_of(chat_with(grammar='root ::= "yes" | "no"')) in ("yes", "no"), "a chat's answer by a grammar")
any_json = chat_with("/api/chat", stream=False, format="json", options={"num_predict": 60})
check(any_json[0] == 200 and isinstance(json.loads(any_json[1]["message"]["content"]), dict), "Ollama's format", any_json)
called = chat_with(tools=[WEATHER], tool_choice="required", parallel_tool_calls=False)
check(len(arguments_of(called)) == 1 and is_weather(arguments_of(called)[0]) and
      called[1]["choices"][0]["finish_reason"] == "tool_calls", "a tool that must be called, in its schema's form", called)
named = chat_with(tools=[WEATHER], tool_choice={"type": "function", "function": {"name": "weather"}})
check(arguments_of(named) and all(map(is_weather, arguments_of(named))), "a tool called by name", named)
streamed = chat_with(tools=[WEATHER], tool_choice="required", parallel_tool_calls=False, stream=True)
frames = [json.loads(l[6:]) for l in str(streamed[1]).split("\n") if l.startswith("data: {")]
deltas = [d for f in frames for c in f["choices"] for d in c["delta"].get("tool_calls", [])]
joined = "".join(d["function"].get("arguments", "") for d in deltas)
check(joined and [json.loads(joined)] == [a for _, a in arguments_of(called)], "streamed: the same arguments", streamed)
check(s.stop() == 0, "and it ends", s.said()[-300:])

# ---- keys ----
key = subprocess.run([hearth, "key", "add", "ann", "--at-once", "2"], capture_output=True, text=True).stdout.strip()
check(key.startswith("hk-") and key not in open(tmp + "/keys").read(), "a key is shown and not written", key)
check(os.stat(tmp + "/keys").st_mode & 0o077 == 0, "the file of keys is its owner's alone")
s = Server("--host", "0.0.0.0")
check(s.ask("GET", "/v1/models")[0] == 401, "a key is needed now", s.said())
check(s.ask("GET", "/v1/models", headers={"Authorization": "Bearer " + key})[0] == 200, "a bearer's key")
check(s.ask("GET", "/v1/models", headers={"x-api-key": key})[0] == 200, "the other header")
check(s.ask("GET", "/v1/models", headers={"x-api-key": key[:-1]})[0] == 401, "a part of a key is none")
check(s.ask("GET", "/metrics", headers={"x-api-key": key})[0] == 403, "a user reads no metrics")
check(key not in s.said(), "no key in the log")


def with_key(key):
    return s.ask("GET", "/v1/models", headers={"x-api-key": key})[0]


bob = subprocess.run([hearth, "key", "add", "bob"], capture_output=True, text=True).stdout.strip()
check(soon(lambda: with_key(bob) == 200, 3), "a key that is made while the server runs counts without a restart", s.said())
subprocess.run([hearth, "key", "revoke", "ann"], capture_output=True)
check(soon(lambda: with_key(key) == 401, 3) and with_key(bob) == 200, "a key that is revoked counts no more", s.said())
whole = open(tmp + "/keys").read()
open(tmp + "/keys", "a").write("nonsense\n")
check(soon(lambda: "still count" in s.said(), 3) and with_key(bob) == 200, "a broken file changes nothing", s.said())
open(tmp + "/keys", "w").write(whole)
os.kill(s.children()[-1], signal.SIGKILL)
check(soon(lambda: with_key(bob) == 200, 3) and with_key(key) == 401, "a front door that was killed comes back with them",
      s.said())
subprocess.run([hearth, "key", "revoke", "bob"], capture_output=True)
check(soon(lambda: with_key(bob) == 401, 3) and s.ask("GET", "/v1/models")[0] == 401,
      "without any key left nobody asks: it does not open", s.said())
check(s.stop() == 0, "and it ends", s.said()[-300:])
s = Server("--host", "0.0.0.0", wait=False)
check(s.p.wait(20) == 1 and "key" in s.said(), "off loopback without a key: no start", s.said())

# ---- users of the Unix socket: the kernel says who connects ----
SEVERAL = "the quick brown fox jumps over the lazy dog and " * 8


def cached_as(uid):
    """Cached tokens of a prompt that user `uid` asks at the Unix socket; None where the connection ends without a word."""
    code = ("import os,sys,json,socket\n"
            f"os.setgroups([]); os.setgid({uid}); os.setuid({uid})\n"
            f"s = socket.socket(socket.AF_UNIX); s.connect({s.path!r})\n"
            f"b = json.dumps({{'prompt': {SEVERAL!r}, 'max_tokens': 1}}).encode()\n"
            "s.sendall(b'POST /v1/completions HTTP/1.0\\r\\nContent-Length: %d\\r\\n\\r\\n' % len(b) + b)\n"
            "t = s.makefile('rb').read()\n"
            "print(json.loads(t.split(b'\\r\\n\\r\\n')[1])['usage']['prompt_tokens_details']['cached_tokens'] if t else None)\n")
    r = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return r.stdout.strip() or r.stderr.strip().split("\n")[-1]


if os.geteuid() == 0:
    os.chmod(tmp, 0o755)
    os.remove(tmp + "/keys")
    s = Server()
    check("Permission" in cached_as(65534), "another user can not connect: the file's mode", cached_as(65534))
    check(s.stop() == 0, "and it ends", s.said()[-300:])
    open(tmp + "/conf", "w").write("[server]\nuser = nobody\n")
    s = Server("--config", tmp + "/conf")
    first, again, guest, same = cached_as(0), cached_as(0), cached_as(65534), cached_as(65534)
    check(first == "0" and int(again) > 60 and guest == "0" and same == again,
          "a user who is listed is a principal of its own: nothing of another's is cached", (first, again, guest, same))
    stranger = cached_as(1)
    check(any(end in stranger for end in ("reset", "Broken pipe", "None")), "one who is not listed is let go", stranger)
    check(s.said().count("user 1 may not ask here") == 1, "which the log says once", s.said())
    os.kill(s.children()[-1], signal.SIGKILL)
    time.sleep(0.5)
    check(cached_as(65534) == "0" or int(cached_as(65534)) >= 0, "the front door killed: the next one is handed clients too")
    check(s.stop() == 0 and not os.path.exists(s.path), "and it ends", s.said()[-300:])
else:
    print("skipped: users of the Unix socket: only root can be another user")

# ---- shares: who asks for much does not keep another from the first answer ----
ann, bob = (subprocess.run([hearth, "key", "add", n], capture_output=True, text=True).stdout.strip() for n in ("ann2", "bob2"))
s = Server("--parallel", "1")
ended = []


def ask_as(key, name):
    r = s.ask("POST", "/v1/completions", {"prompt": "Once", "max_tokens": 100}, headers={"x-api-key": key})
    ended.append(name if r[0] == 200 else str(r))


many = [threading.Thread(target=ask_as, args=(ann, "ann")) for _ in range(40)]
[t.start() for t in many]
while len(ended) < 1:
    time.sleep(0.005)
before = len(ended)
ask_as(bob, "bob")
between = ended.index("bob") - before if "bob" in ended else -1
[t.join() for t in many]
check(0 <= between <= 12 and ended.count("ann") == 40, "one request beside forty of another: among the next few", ended)
check(s.stop() == 0, "and it ends", s.said()[-300:])

# ---- without a network ----
UP = "import fcntl, socket, struct, os, sys; fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sH22x', b'lo', 0x49)); " \
     "os.execv(sys.argv[1], sys.argv[1:])"  # the loopback of the new namespace, which has no other device
words = [hearth, "run", model, "--raw", "-p", "Once upon a time", "-n", "8", "--temp", "0"]
cut_off = subprocess.run(["unshare", "--net", sys.executable, "-c", UP, *words], capture_output=True, text=True, timeout=60)
connected = subprocess.run(words, capture_output=True, text=True, timeout=60)
if "Operation not permitted" in cut_off.stderr:
    print("skipped: without a network: unshare is not allowed here")
else:
    check(cut_off.returncode == 0 and cut_off.stdout == connected.stdout, "without a network: the same answer",
          (cut_off, connected))

# ---- a hostile model ----
data = bytearray(open(model, "rb").read())
data[40:60] = b"\xff" * 20
open(tmp + "/bad.gguf", "wb").write(data)
bad = subprocess.run([hearth, "serve", tmp + "/bad.gguf", "--port", str(free_port())], capture_output=True, text=True,
                     timeout=30)
check(bad.returncode == 1 and bad.stderr.count("\n") <= 2, "a broken model file: one line, exit 1", bad.stderr)
sys.exit(done())
