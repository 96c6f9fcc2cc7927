"""What the tests of `hearth serve` share: rows that are counted, a free port, a server that is asked over HTTP."""
import http.client, json, signal, socket, subprocess, time

rows = {"passed": 0, "failed": 0, "skipped": 0}


def check(good, says, found=""):
    rows["passed" if good else "failed"] += 1
    if not good:
        print(f"FAILED {says}: {str(found)[-600:]}", flush=True)
    return good


def skip(why):
    rows["skipped"] += 1
    print("skipped: " + why, flush=True)


def done():
    """Prints the sum; what a program ends with."""
    print(f"{rows['passed']} passed, {rows['failed']} failed, {rows['skipped']} skipped")
    return rows["failed"] > 0


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def soon(good, seconds=5):
    """Whether something becomes true within some seconds."""
    until = time.time() + seconds
    while time.time() < until:
        if good():
            return True
        time.sleep(0.05)
    return False


class Asked:
    """A server in `self.p` that listens at `self.port` and at the Unix socket `self.path`, and logs to `self.log`."""

    timeout = 60  # seconds that an answer may take

    def ask(self, method, path, body=None, headers={}, unix=False):
        """Status and body, read where it is an object; (0, why) where no answer came."""
        try:
            c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.timeout)
            if unix:
                c.sock = socket.socket(socket.AF_UNIX)
                c.sock.settimeout(self.timeout)
                c.sock.connect(self.path)
            c.request(method, path, json.dumps(body) if body is not None else None, headers)
            r = c.getresponse()
            text = r.read().decode()
            c.close()
            return r.status, json.loads(text) if text[:1] == "{" else text
        except OSError as e:
            return 0, str(e)

    def stop(self, seconds=20):
        self.p.send_signal(signal.SIGTERM)
        try:
            return self.p.wait(seconds)
        except subprocess.TimeoutExpired:
            self.p.kill()
            return "it did not end"

    def said(self):
        with open(self.log.name) as log:
            return log.read()
