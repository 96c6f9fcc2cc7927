#!/usr/bin/env python3
"""The processes of `hearth run` and `hearth serve` while they work, as the kernel shows them: live.py HEARTH MODEL BIG_MODEL

Nothing here asks the program about itself: all is read from /proc. As root the whole test runs in a network namespace
whose default route leads to a counting sink: what leaves under load, attacks and answers is counted, and so is every
socket that any process holds. An ordinary user can not look into the processes, which is shown too.
"""
import ctypes, fcntl, os, re, signal, socket, struct, subprocess, sys, time
from serving import KINDS, Server, children, comm
from asking import check, done, rows, skip

hearth, model, big = sys.argv[1:4]
root = os.geteuid() == 0
NAMESPACES = ("user", "mnt", "net", "pid", "ipc", "uts", "cgroup")
UNLIMITED = "unlimited"

# What each may hold open, as its links read, in order, and its limit on descriptors.
IMAGE = r"/memfd:hearth-image \(deleted\)"
FILES = {
    "hearth-engine": ([IMAGE], 0),
    "hearth-text": ([IMAGE], 0),
    "hearth-packer": ([r"/.*/big\.gguf", IMAGE], 0),
    "hearth-front": ([r"socket:\[\d+\]", r"socket:\[\d+\]", r"anon_inode:\[eventpoll\]", r"anon_inode:\[eventfd\]",
                      r"anon_inode:\[eventfd\]", r"pipe:\[\d+\]"], 4096),
}


def read(path):
    with open(path) as f:
        return f.read()


def descriptors(pid):
    """Links of a process's descriptors by number."""
    folder, links = f"/proc/{pid}/fd", {}
    for fd in sorted(int(f) for f in os.listdir(folder)):
        try:
            links[fd] = os.readlink(f"{folder}/{fd}")
        except OSError:
            pass
    return links


# ---- one process ----

def look(pid, kind, outside):
    """All the walls of one live process. `outside`: namespaces that are not its own."""
    says = f"{kind} {pid}"
    status = read(f"/proc/{pid}/status")
    field = lambda name: re.search(rf"^{name}:[ \t]*(.*)$", status, re.M)[1].split()
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        check(int(field(name)[0], 16) == 0, f"{says}: {name} is empty", field(name))
    check(field("NoNewPrivs") == ["1"], f"{says}: no new privileges")
    user = "65534" if root else str(os.geteuid())
    check(set(field("Uid") + field("Gid")) <= {user, str(os.getegid()) if not root else user},
          f"{says}: identity", field("Uid") + field("Gid"))
    if root:
        check(field("Groups") == [], f"{says}: no groups", field("Groups"))
    threads = os.listdir(f"/proc/{pid}/task")
    filters = [re.search(r"^Seccomp:\s*(\d)$", read(f"/proc/{pid}/task/{t}/status"), re.M)[1] for t in threads]
    check(set(filters) == {"2"}, f"{says}: a filter over each of {len(threads)} threads", filters)
    own = [os.readlink(f"/proc/{pid}/ns/{n}") for n in NAMESPACES]
    check(not set(own) & outside, f"{says}: seven namespaces of its own", set(own) & outside)
    outside.update(own)
    maps = read(f"/proc/{pid}/maps").splitlines()
    bad = [m for m in maps if m.split()[1][1:3] == "wx"]
    check(len(maps) > 5 and not bad, f"{says}: nothing writable and executable in {len(maps)} maps", bad)
    code = {m.split()[-1] for m in maps if m.split()[1][2] == "x" and len(m.split()) > 5}
    check(all(c.startswith("[v") or c == os.path.realpath(hearth) or ".so" in c for c in code),
          f"{says}: code is the program's and its libraries'", code)
    want, limit = FILES[kind]
    got = descriptors(pid)
    check(list(got) == list(range(3, 3 + len(want))) and all(re.fullmatch(w, g) for w, g in zip(want, got.values())),
          f"{says}: exactly its descriptors", got)
    mounts = read(f"/proc/{pid}/mountinfo").splitlines()
    options = mounts[0].split()[5].split(",") if mounts else []
    check(len(mounts) == 1 and {"ro", "nosuid", "nodev", "noexec"} <= set(options), f"{says}: one mount, read-only", mounts)
    check(os.listdir(f"/proc/{pid}/root/") == [] and os.readlink(f"/proc/{pid}/cwd") == "/", f"{says}: an empty root")
    devices = [l.split() for l in read(f"/proc/{pid}/net/dev").splitlines()[2:]]
    check([d[0] for d in devices] in ([], ["lo:"]) and all(set(d[1:]) == {"0"} for d in devices),
          f"{says}: no network device but a loopback that is down and has carried nothing", devices)
    check(len(read(f"/proc/{pid}/net/route").splitlines()) <= 1, f"{says}: no route")
    limits = {l[:26].strip(): l[26:].split()[:2] for l in read(f"/proc/{pid}/limits").splitlines()[1:]}
    for name, value in (("Max core file size", "0"), ("Max processes", "0"), ("Max locked memory", "0"),
                        ("Max pending signals", "0"), ("Max open files", str(limit))):
        check(limits.get(name) == [value, value], f"{says}: {name} is {value}", limits.get(name))
    if kind != "hearth-packer":
        check(limits["Max file size"] == ["0", "0"], f"{says}: no file can be made", limits["Max file size"])
    check(children(pid) == [], f"{says}: no children")


def look_refused(pid, kind):
    """The same user can not look into them: they are not dumpable."""
    for what in ("fd", "ns/net", "root", "maps", "environ", "mem"):
        path = f"/proc/{pid}/{what}"
        try:
            os.readlink(path) if what in ("ns/net", "root") else os.listdir(path) if what == "fd" else open(path).read(1)
            check(False, f"{kind} {pid}: {what} is closed to its own user")
        except PermissionError:
            check(True, "")
    status = read(f"/proc/{pid}/status")
    check(re.search(r"^Seccomp:\s*2$", status, re.M) and re.search(r"^NoNewPrivs:\s*1$", status, re.M) and
          re.search(r"^CapBnd:\s*0+$", status, re.M), f"{kind} {pid}: filter, no privileges, no capabilities", status[-300:])


def here():
    return {os.readlink(f"/proc/self/ns/{n}") for n in NAMESPACES}


def look_all(pids, wanted, who):
    kinds = sorted(comm(p) for p in pids)
    check(kinds == sorted(wanted), f"{who}: these processes and no others", kinds)
    outside = here()
    for pid in pids:
        (look(pid, comm(pid), outside) if root else look_refused(pid, comm(pid)))


def bites():
    """Without walls the same look finds most of what it looks for: it can fail."""
    p = subprocess.Popen([hearth, "run", model, "Once", "-n", "500", "--no-jail"], stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL)
    p.stdout.read(1)
    engine = next((c for c in children(p.pid) if comm(c) == "hearth-engine"), 0)
    before, out = dict(rows), sys.stdout
    if engine:
        os.kill(engine, signal.SIGSTOP)
        sys.stdout = open(os.devnull, "w")
        look(engine, "hearth-engine", here())
        sys.stdout = out
        os.kill(engine, signal.SIGCONT)
    missing = rows["failed"] - before["failed"]
    rows.update(before)
    check(missing >= 15, "without walls at least 15 of the rows of a look fail", missing)
    print(f"without walls {missing} rows of one look fail")
    p.kill()
    p.wait()


# ---- the network ----

def home(held):
    """Which network namespace a socket belongs to (SO_NETNS_COOKIE, Linux 5.14), or None."""
    try:
        return held.getsockopt(socket.SOL_SOCKET, 71, 8)
    except OSError:
        return None


def ours(pid, fd):
    """Is it a Unix, TCP or UDP socket of this network namespace? Asked of the socket itself, through a copy of the
    descriptor: one that its client has reset stands in no list of the kernel's."""
    SYS_PIDFD_GETFD = 438
    process = os.pidfd_open(pid)
    copy = ctypes.CDLL(None, use_errno=True).syscall(SYS_PIDFD_GETFD, process, int(fd), 0)
    os.close(process)
    if copy < 0:
        return False
    with socket.socket(fileno=copy) as held, socket.socket() as here_made:
        kinds = {socket.AF_UNIX: (socket.SOCK_STREAM, socket.SOCK_SEQPACKET),  # the second: acceptor.h's pair
                 socket.AF_INET: (socket.SOCK_STREAM, socket.SOCK_DGRAM),
                 socket.AF_INET6: (socket.SOCK_STREAM, socket.SOCK_DGRAM)}
        return held.type in kinds.get(held.family, ()) and home(held) == home(here_made)


def unaccounted(pids):
    """Descriptors of sockets that are not Unix, TCP or UDP sockets of this network namespace: vsock, netlink, packet
    and raw ones. The processes stand still meanwhile."""
    others = [pid for pid in pids if pid != os.getpid()]
    for pid in others:
        os.kill(pid, signal.SIGSTOP)
    found = [(pid, comm(pid), link) for pid in pids for fd, link in descriptors(pid).items()
             if link.startswith("socket:") and not ours(pid, fd)]
    for pid in others:
        os.kill(pid, signal.SIGCONT)
    return found


def sink_new():
    """A tunnel device at the end of the default route, in a new network namespace: its descriptor."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x40000000) != 0:
        return -1
    for name in ("all", "default"):
        try:
            open(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6", "w").write("1")
        except OSError:
            pass
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH22x", b"sink0", 0x1001))  # TUNSETIFF: TUN, no packet information
    address = lambda a: struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton(a))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, 0x8916, struct.pack("16s16s8x", b"sink0", address("10.77.0.1")))  # SIOCSIFADDR
        for device in (b"sink0", b"lo"):
            fcntl.ioctl(control, 0x8914, struct.pack("16sH22x", device, 0x41))  # SIOCSIFFLAGS: up, running
        device = ctypes.create_string_buffer(b"sink0")
        route = struct.pack("L16s16s16sHhLPhPLLH6x", 0, address("0.0.0.0"), address("0.0.0.0"), address("0.0.0.0"), 1, 0,
                            0, 0, 0, ctypes.addressof(device), 0, 0, 0)
        fcntl.ioctl(control, 0x890B, route)  # SIOCADDRT
    return tun


def packets(tun):
    time.sleep(0.1)
    count = 0
    while True:
        try:
            os.read(tun, 2048)
            count += 1
        except BlockingIOError:
            return count


def plant(tun):
    """A process that leaks one packet is counted, one that holds a vsock socket found."""
    out = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))"
    subprocess.run([sys.executable, "-c", out], check=True)
    seen = packets(tun)
    check(seen == 1, "a planted process leaked one packet and is seen", seen)
    try:
        held = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    except OSError:
        skip("no vsock on this machine: none to plant")
        return
    check(len(unaccounted([os.getpid()])) == 1, "a planted vsock socket is found", unaccounted([os.getpid()]))
    held.close()


# ---- what runs ----

def descendants(pid):
    found = children(pid)
    return found + [d for c in found for d in descendants(c)]


def serve():
    s = Server(hearth, model, "--parallel", "8")
    if not check(s.wait_healthy() is not None, "the server is healthy", s.said()):
        return
    # Under load: streams that go on while we look, and clients that leave, send nonsense and come again.
    load = subprocess.Popen([sys.executable, "tests/server/load.py", str(s.port), "6", "16"], stdout=subprocess.PIPE,
                            text=True)
    time.sleep(2)
    if root:
        strays = unaccounted([s.p.pid] + descendants(s.p.pid))
        check(strays == [], "no vsock and no other strange socket in any process", strays)
    said = load.communicate()[0].strip().splitlines()
    check(load.returncode == 0, "every answer under load is right", said[-3:])
    print("under load:", said[-1])
    look_all(descendants(s.p.pid), KINDS, "serve")
    answer = s.whole(max_tokens=40)
    check(answer[0] == "whole" and len(answer[1]) > 20, "an answer afterwards", answer)
    s.stop()


def packer():
    """Stopped in the middle of its work, so that there is time to look."""
    p = subprocess.Popen([hearth, "run", big, "x", "-n", "1"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    until = time.time() + 60
    pid = 0
    while pid == 0 and time.time() < until:
        pid = next((c for c in children(p.pid) if comm(c) == "hearth-packer"), 0)
        status = read(f"/proc/{pid}/status") if pid else ""
        if pid and not re.search(r"^Seccomp:\s*2$", status, re.M):
            pid = 0
    if check(pid != 0, "the packer is met at its work"):
        os.kill(pid, signal.SIGSTOP)
        look_all([pid], ["hearth-packer"], "packer")
        os.kill(pid, signal.SIGCONT)
    check(p.wait(120) == 0, "and ends it undisturbed", p.stderr.read()[-300:])


def run():
    p = subprocess.Popen([hearth, "run", model, "Once upon a time", "--ctx", "512", "-n", "500", "--temp", "0",
                          "--threads", "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    p.stdout.read(1)  # it answers
    found = descendants(p.pid)
    for pid in found:
        os.kill(pid, signal.SIGSTOP)
    look_all(found, ["hearth-text", "hearth-engine"], "run")
    if root:
        strays = unaccounted([p.pid] + found)
        check(strays == [], "run: no strange socket in any process", strays)
    for pid in found:
        os.kill(pid, signal.SIGCONT)
    rest = p.communicate(timeout=120)
    check(p.returncode == 0 and len(rest[0]) > 400, "run: the answer goes on", rest)


tun = -1
if root:
    try:
        tun = sink_new()
    except OSError as e:
        skip(f"no tunnel device here: {e}")
else:
    skip("not root: what /proc shows of processes that are not dumpable, and a network namespace with a sink")
if tun >= 0:
    packets(tun)
run()
if root:
    bites()
serve()
packer()
if tun >= 0:
    left = packets(tun)
    check(left == 0, "answers, load and attacks: no packet left", left)
    print(f"answers, load and attacks: {left} packets")
    plant(tun)
sys.exit(done())
