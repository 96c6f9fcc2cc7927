"""One row of plan.sh: plan.py HEARTH MODEL TIER SESSIONS CONTEXT. Starts a server with that plan, computes every
session to its end, and compares what its processes have with what `hearth plan` says."""
import json, os, random, subprocess, sys, threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../orchestrator"))
from serving import Server, children
from asking import soon

hearth, model, tier, sessions, context = sys.argv[1:]
sessions, context = int(sessions), int(context)

def ask(server, method, target, body=None):
    status, answer = server.ask(method, target, body, unix=True)
    if status != 200:
        sys.exit(f"{tier}: {target}: {status} {str(answer)[:300]}")
    return answer

def family(pid):
    yield pid
    for child in children(pid):
        yield from family(child)

def memory(pid):
    """Bytes of anonymous and shared memory, by process; of shared memory the parts of all of them make a whole."""
    rows = []
    for one in family(pid):
        try:
            with open(f"/proc/{one}/smaps_rollup") as f:
                fields = {l.split(":")[0]: int(l.split()[1]) for l in f if l.startswith("Pss_")}
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        rows.append((one, fields["Pss_Anon"] * 1024, fields["Pss_Shmem"] * 1024))
    return rows

planning = [hearth, "plan", model, "--json", "--kv", tier, "--sessions", str(sessions), "--context", str(context),
            "--threads", "2"]
plan = json.loads(subprocess.run(planning, check=True, stdout=subprocess.PIPE).stdout)
server = Server(hearth, model, "--kv", tier, "--parallel", str(sessions), "--ctx", str(context), "--threads", "2")
server.timeout = 3000
try:
    if not soon(lambda: server.starts > 1 or server.healthy(), 300) or server.starts > 1:
        sys.exit(f"{tier}: {server.said()[:500]}")
    name = ask(server, "GET", "/v1/models")["data"][0]["id"]
    def fill(i):
        letters = random.Random(i)
        text = "".join(letters.choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(context - 24))
        count = len(ask(server, "POST", "/tokenize", {"content": text})["tokens"])
        # as many tokens as the context still holds, whatever the vocabulary made of the letters
        while count < context - 24:
            text += " " + text[: 4 * (context - 24 - count)]
            count = len(ask(server, "POST", "/tokenize", {"content": text})["tokens"])
        while count > context - 8:
            text = text[: len(text) * (context - 8) // count]
            count = len(ask(server, "POST", "/tokenize", {"content": text})["tokens"])
        r = ask(server, "POST", "/v1/completions", {"model": name, "prompt": text, "max_tokens": context, "seed": i})
        filled[i] = r["usage"]["prompt_tokens"] + r["usage"]["completion_tokens"]
    filled = [0] * sessions
    threads = [threading.Thread(target=fill, args=(i,)) for i in range(sessions)]
    for t in threads: t.start()
    for t in threads: t.join()
    rows = memory(server.p.pid)
    have = sum(anon + shared for _, anon, shared in rows)
finally:
    server.stop()
want, apart = plan["all_bytes"], abs(have - plan["all_bytes"])
def mib(bytes):
    return f"{bytes / 2**20:.1f}"

print(f"{tier}: {sessions} sessions of {context}, filled {min(filled)}..{max(filled)}; plan {mib(want)} MiB (weights "
      f"{mib(plan['weights_bytes'])}, cache {mib(plan['cache_bytes'])}, work {mib(plan['work_bytes'])}), "
      f"taken {mib(have)}: {100 * (have / want - 1):+.2f} %; " + ", ".join(mib(anon) + "+" + mib(shared) for _, anon, shared in rows))
if min(filled) < context - 1:
    sys.exit("sessions that are not full say nothing")
if want >= 256 << 20 and apart > max(8 << 20, want * 0.02):
    sys.exit(1)
