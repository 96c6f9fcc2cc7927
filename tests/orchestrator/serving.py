"""`hearth serve` as its tests see it: started, started again by a parent as systemd would, asked, looked at in /proc."""
import http.client, json, os, subprocess, sys, tempfile, threading, time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from asking import Asked, free_port

KINDS = ("hearth-text", "hearth-engine", "hearth-front")


def comm(pid):
    try:
        return open(f"/proc/{pid}/comm").read().strip()
    except OSError:
        return ""


def children(pid):
    try:
        return [int(c) for c in open(f"/proc/{pid}/task/{pid}/children").read().split()]
    except OSError:
        return []


class Server(Asked):
    """One server at one port; where it ends without being asked to, its parent starts it again."""

    def __init__(self, hearth, model, *args):
        self.tmp = tempfile.mkdtemp(prefix="hearth-serving-")
        self.port, self.stopping, self.starts = free_port(), False, 0
        self.path = self.tmp + "/hearth.sock"
        self.command = [hearth, "serve", model, "--port", str(self.port), "--socket", self.path, *args]
        self.environment = dict(os.environ, HEARTH_KEYS=self.tmp + "/keys")
        self.log = open(self.tmp + "/log", "w+")
        self.start()
        threading.Thread(target=self.supervise, daemon=True).start()

    def start(self):
        self.starts += 1
        self.p = subprocess.Popen(self.command, stderr=self.log, env=self.environment)

    def supervise(self):
        while not self.stopping:
            self.p.wait()
            if not self.stopping:
                self.start()

    def process(self, kind):
        """The number of a process by its name, 0 where there is none."""
        if kind == "orchestrator":
            return self.p.pid
        return next((c for c in children(self.p.pid) if comm(c) == kind), 0)

    def connect(self, timeout=30):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def healthy(self):
        try:
            c = self.connect(2)
            c.request("GET", "/health")
            good = c.getresponse().status == 200
            c.close()
            return good
        except (OSError, http.client.HTTPException):
            return False

    def wait_healthy(self, seconds=60, without=None):
        """Seconds until health is good and the process `without` has been replaced; None where it takes too long."""
        kind, old = without or (None, 0)
        since = time.time()
        while time.time() - since < seconds:
            if (kind is None or self.process(kind) not in (0, old)) and self.healthy():
                return time.time() - since
            time.sleep(0.01)
        return None

    def whole(self, **more):
        """An answer in one piece: ("whole", its text) or ("error", why)."""
        try:
            c = self.connect()
            c.request("POST", "/v1/completions", json.dumps({"prompt": "Once upon a time", "seed": 7, **more}))
            r = c.getresponse()
            body = r.read()
            c.close()
            if r.status != 200:
                return "error", f"{r.status} {body[:100]}"
            return "whole", json.loads(body)["choices"][0]["text"]
        except (OSError, http.client.HTTPException) as e:
            return "error", f"{type(e).__name__} {e}"

    def stream(self, **more):
        """The same in pieces. Only what ends with its last word, [DONE], counts as whole."""
        text, ended = "", False
        try:
            c = self.connect()
            c.request("POST", "/v1/completions",
                      json.dumps({"prompt": "Once upon a time", "seed": 7, "stream": True, **more}))
            r = c.getresponse()
            if r.status != 200:
                return "error", f"{r.status} {r.read()[:100]}"
            while line := r.readline():
                if line.startswith(b"data: [DONE]"):
                    ended = True
                elif line.startswith(b"data: {"):
                    event = json.loads(line[6:])
                    if "error" in event:
                        return "error", event["error"]
                    text += event["choices"][0]["text"]
            c.close()
        except (OSError, http.client.HTTPException) as e:
            return "error", f"{type(e).__name__} {e}"
        return ("whole", text) if ended else ("error", "the stream broke off")

    def stop(self):
        self.stopping = True
        return super().stop(30)
