/* Nothing leaves: in a network namespace whose default route leads to a counting sink, the whole escape suite runs in
 * every profile and not one packet arrives, no vsock socket exists. A planted process that leaks one packet is seen,
 * and so is a canary without the filter and without its network namespace: the sink counts what there is to count. */
#include "jail/prove.h"

#include "check.h"
#include "machine.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/vm_sockets.h>
#include <net/if.h>
#include <net/route.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static bool put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0) close(fd);
    return good;
}

static void address(struct sockaddr *out, const char *text)
{
    struct sockaddr_in in = { .sin_family = AF_INET };
    inet_pton(AF_INET, text, &in.sin_addr);
    memcpy(out, &in, sizeof in);
}

static bool up(int control, const char *name)
{
    struct ifreq request = { .ifr_flags = IFF_UP | IFF_RUNNING };
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
    return ioctl(control, SIOCSIFFLAGS, &request) == 0;
}

/* A tunnel device of which this process is the far end: 10.77.0.1, and the default route through it. The kernel's own
 * IPv6 announcements are switched off first, so a count of 0 means 0. */
static int sink_new(void)
{
    if (!put("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1") && errno != ENOENT) return -1;
    put("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
    int tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK),
        control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq request = { .ifr_flags = IFF_TUN | IFF_NO_PI };
    snprintf(request.ifr_name, sizeof request.ifr_name, "sink0");
    bool good = tun >= 0 && control >= 0 && ioctl(tun, TUNSETIFF, &request) == 0;
    address(&request.ifr_addr, "10.77.0.1");
    good = good && ioctl(control, SIOCSIFADDR, &request) == 0 && up(control, "sink0") && up(control, "lo");
    struct rtentry route = { .rt_flags = RTF_UP, .rt_dev = request.ifr_name };
    address(&route.rt_dst, "0.0.0.0");
    address(&route.rt_genmask, "0.0.0.0");
    address(&route.rt_gateway, "0.0.0.0");
    good = good && ioctl(control, SIOCADDRT, &route) == 0;
    if (control >= 0) close(control);
    return good ? tun : -1;
}

/* Packets since the last call; waits a moment for late ones. */
static size_t sink_count(int tun)
{
    usleep(50000);
    size_t packets = 0;
    char packet[2048];
    while (read(tun, packet, sizeof packet) > 0) packets++;
    return packets;
}

/* vsock sockets are in no network namespace and in no file of /proc (net/protocols shows 0 while one is held), so what
 * is counted are the attempts to have one that came through. */
static size_t vsock_sockets(const struct prove_tally *t)
{
    size_t count = 0;
    for (size_t i = 0; i < t->rows; i++)
        count += strncmp(prove_row_name(i), "socket: vsock", 13) == 0 && t->end[i] == PROVE_ALLOWED;
    return count;
}

static void leak(const char *to)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(53) };
    inet_pton(AF_INET, to, &at.sin_addr);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    sendto(fd, "x", 1, 0, (struct sockaddr *)&at, sizeof at);
    close(fd);
}

/* Every attempt in every profile, as in use; the vsock sockets they got. */
static size_t attacks(void)
{
    struct prove_scene *s;
    err e = { 0 };
    static struct prove_tally t;
    if (!CHECK(prove_scene_new(&s, &e), "%s", e.text)) return 0;
    size_t count, sockets = 0;
    const struct jail_profile *const *profiles = jail_profiles(&count);
    for (size_t i = 0; i < 2 * count; i++) {
        enum jail_denied denied = i < count ? JAIL_ERRNO : JAIL_KILL;
        CHECK(prove_profile(s, profiles[i % count], 0, JAIL_REQUIRED, denied, false, &t, &e) &&
                  t.count[PROVE_ALLOWED] == 0,
              "%s: %zu allowed, %s", profiles[i % count]->name, t.count[PROVE_ALLOWED], e.text);
        sockets += vsock_sockets(&t);
    }
    prove_scene_free(s);
    return sockets;
}

static void planted(int tun)
{
    pid_t pid = fork();
    if (pid == 0) {
        leak("192.0.2.1");
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    size_t seen = sink_count(tun);
    CHECK(seen == 1, "a planted process leaked one packet: %zu seen", seen);
    struct prove_scene *s;
    err e = { 0 };
    static struct prove_tally t;
    if (!CHECK(prove_scene_new(&s, &e), "%s", e.text)) return;
    uint32_t skip = jail_bit(JAIL_SECCOMP) | jail_bit(JAIL_LIMITS) | jail_bit(JAIL_NET_NS);
    CHECK(prove_profile(s, &JAIL_ENGINE, skip, 0, JAIL_ERRNO, false, &t, &e), "%s", e.text);
    seen = sink_count(tun);
    CHECK(seen >= 1, "canaries without filter and namespace reach the sink: %zu packets", seen);
    int vsock = socket(AF_VSOCK, SOCK_STREAM, 0);
    if (vsock >= 0) {
        CHECK(vsock_sockets(&t) > 0, "canaries without filter get a vsock socket, as this test does");
        close(vsock);
    } else check_skip("no vsock on this machine: nothing to count");
    printf("planted leak seen; canaries without filter and namespace: %zu packets, %zu vsock sockets\n", seen,
           vsock_sockets(&t));
    prove_scene_free(s);
}

/* Starts and ends of jailed processes, many times: the load. */
static void nothing(void *arg)
{
    (void)arg;
}

static void load(void)
{
    for (int i = 0; i < 200; i++) {
        struct jail_options o = { .require = JAIL_REQUIRED };
        struct jail_job job = { .run = nothing };
        struct jail_process p;
        struct jail_end end;
        err e = { 0 };
        if (!jail_spawn(&JAIL_TEXT_WORKER, &o, &job, &p, &e) && !CHECK(false, "start %d: %s", i, e.text)) return;
        jail_wait(&p, 5000, &end);
        jail_free(&p);
    }
}

int main(void)
{
    const char *without = machine_without_jails();
    if (without != NULL) {
        check_skip(without);
        return check_done();
    }
    if (geteuid() != 0 || unshare(CLONE_NEWNET) != 0) {
        check_skip("needs root, for a network namespace with a device of its own");
        return check_done();
    }
    int tun = sink_new();
    if (tun < 0) {
        check_skip("no tunnel device here (/dev/net/tun, CONFIG_TUN)");
        return check_done();
    }
    sink_count(tun);
    size_t sockets = attacks();
    load();
    size_t packets = sink_count(tun);
    CHECK(packets == 0, "attacks in every profile and 200 starts: %zu packets left", packets);
    CHECK(sockets == 0, "attacks in every profile: %zu vsock sockets", sockets);
    printf("attacks and load: %zu packets, %zu vsock sockets\n", packets, sockets);
    planted(tun);
    return check_done();
}
