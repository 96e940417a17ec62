/* An audience in C for one core: opens websockets, K at a time, and counts the messages that they receive.
 *
 *   audience HOST PORT PATH N SECONDS -w READY [-at K] [-protocol P] [-hello HEX] [-greeting HEX]
 *
 * PATH is one path for all, or @FILE with a path per line. Each viewer sends HELLO (whole masked frames) after the
 * upgrade. It has joined when the bytes of GREETING arrive. When all have joined, the file READY gets the seconds that
 * this took. From then on every mark counts as a message, in whatever frame: `@T` and 16 hex digits, the time of
 * sending in nanoseconds. At the end it prints one line of figures. Linux only.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

enum { MARK = 18, GREETING_MAX = 256 * 1024, READ = 256 * 1024, STEPS = 64 };

typedef struct {
    int fd, in;             /* in: has joined */
    char *early;            /* what arrived before it had joined */
    size_t early_n;
    unsigned char tail[MARK];
    int tail_n;             /* the beginning of a mark that a read cut */
} Seat;

static const char *host, *protocol = "";
static int port, epoll_fd, closed;
static unsigned char hello[8192], greeting[256], buffer[MARK + READ];
static size_t hello_n, greeting_n;
static uint64_t messages, first_ns, last_ns, most_us;
static uint64_t waited[64 * STEPS]; /* messages by latency in us, 64 steps per power of two */

static void fail(const char *why, const char *more) {
    fprintf(stderr, "audience: %s %.300s\n", why, more);
    exit(1);
}

static uint64_t now_ns(clockid_t of) {
    struct timespec t;
    clock_gettime(of, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static size_t from_hex(const char *text, unsigned char *bytes, size_t most) {
    size_t n = strlen(text) / 2;
    if (n > most) fail("too long:", text);
    for (size_t i = 0; i < n; i++) sscanf(text + 2 * i, "%2hhx", bytes + i);
    return n;
}

/* --- latencies ------------------------------------------------------------------------------------------------ */
static int step_of(uint64_t us) {
    if (us < STEPS) return (int)us;
    int shift = 63 - __builtin_clzll(us) - 6;
    return (shift + 1) * STEPS + (int)((us >> shift) - STEPS);
}

static double ms_of(int step) {
    if (step < STEPS) return step / 1e3;
    return (double)((uint64_t)(STEPS + step % STEPS) << (step / STEPS - 1)) / 1e3;
}

static double quantile_ms(double part) {
    uint64_t upto = (uint64_t)((double)messages * part), seen = 0;
    for (int step = 0; step < 64 * STEPS; step++)
        if ((seen += waited[step]) > upto) return ms_of(step);
    return (double)most_us / 1e3;
}

/* --- what they are told --------------------------------------------------------------------------------------- */
static int mark_at(const unsigned char *at, uint64_t *ns) {
    uint64_t value = 0;
    if (at[0] != '@' || at[1] != 'T') return 0;
    for (int i = 2; i < MARK; i++) {
        unsigned char c = at[i];
        if (c >= '0' && c <= '9') value = value << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f') value = value << 4 | (uint64_t)(c - 'a' + 10);
        else return 0;
    }
    *ns = value;
    return 1;
}

/* Count the marks in data; what may be the beginning of one is kept for the next read. */
static void hear(Seat *seat, const unsigned char *data, size_t n) {
    const unsigned char *end = data + n, *at = data;
    uint64_t now = now_ns(CLOCK_REALTIME), said;
    seat->tail_n = 0;
    while ((at = memchr(at, '@', (size_t)(end - at)))) {
        if (end - at < MARK) {
            seat->tail_n = (int)(end - at);
            memcpy(seat->tail, at, (size_t)seat->tail_n);
            return;
        }
        if (!mark_at(at, &said)) {
            at++;
            continue;
        }
        uint64_t us = now > said ? (now - said) / 1000 : 0;
        waited[step_of(us)]++;
        most_us = us > most_us ? us : most_us;
        messages++;
        last_ns = now;
        first_ns = first_ns ? first_ns : now;
        at += MARK;
    }
}

/* --- joining -------------------------------------------------------------------------------------------------- */
static void sit_down(Seat *seat, const char *path) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    char request[4096], offered[256] = "";
    int one = 1;
    inet_pton(AF_INET, host, &to.sin_addr);
    seat->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (seat->fd < 0) fail("socket:", strerror(errno));
    if (connect(seat->fd, (struct sockaddr *)&to, sizeof to)) fail("connect:", strerror(errno));
    setsockopt(seat->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (*protocol) snprintf(offered, sizeof offered, "Sec-WebSocket-Protocol: %s\r\n", protocol);
    int n = snprintf(request, sizeof request,
                     "GET %s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n",
                     path, host, port, offered);
    if (n < 0 || (size_t)n >= sizeof request) fail("too long:", path);
    if (send(seat->fd, request, (size_t)n, MSG_NOSIGNAL) != n) fail("send:", strerror(errno));
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = seat};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, seat->fd, &event);
}

/* One more read of somebody who is not in yet: 1 when that made it. */
static int greeted(Seat *seat) {
    static const char end[] = "\r\n\r\n";
    int had_head = seat->early && memmem(seat->early, seat->early_n, end, 4);
    ssize_t n = recv(seat->fd, buffer, READ, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) return 0;
    if (n <= 0) fail("closed before it was in:", seat->early ? seat->early : "");
    if (seat->early_n + (size_t)n > GREETING_MAX) fail("no greeting:", seat->early);
    seat->early = realloc(seat->early, seat->early_n + (size_t)n + 1);
    memcpy(seat->early + seat->early_n, buffer, (size_t)n);
    seat->early[seat->early_n += (size_t)n] = 0;
    char *head = memmem(seat->early, seat->early_n, end, 4);
    if (!head) return 0;
    if (strncmp(seat->early, "HTTP/1.1 101", 12)) fail("not admitted:", seat->early);
    if (!had_head && hello_n && send(seat->fd, hello, hello_n, MSG_NOSIGNAL) != (ssize_t)hello_n)
        fail("hello:", strerror(errno));
    char *body = head + 4;
    if (greeting_n && !memmem(body, seat->early_n - (size_t)(body - seat->early), greeting, greeting_n)) return 0;
    free(seat->early);
    seat->early = NULL;
    return seat->in = 1;
}

static double join(Seat *seats, int number, int at_a_time, const char *path, FILE *paths) {
    struct epoll_event events[256];
    char line[4096];
    uint64_t began = now_ns(CLOCK_MONOTONIC);
    for (int in = 0, begun = 0; in < number;) {
        for (; begun < number && begun - in < at_a_time; begun++) {
            if (paths && !fgets(line, sizeof line, paths)) fail("too few paths", "");
            if (paths) line[strcspn(line, "\n")] = 0;
            sit_down(&seats[begun], paths ? line : path);
        }
        int n = epoll_wait(epoll_fd, events, 256, 30000);
        if (n == 0) fail("nobody came in for 30 s", "");
        for (int i = 0; i < n; i++) {
            Seat *seat = events[i].data.ptr;
            if (!seat->in) in += greeted(seat);
            else if (recv(seat->fd, buffer, READ, MSG_DONTWAIT) == 0) fail("closed before all were in", "");
        }
    }
    return (double)(now_ns(CLOCK_MONOTONIC) - began) / 1e9;
}

static void listen_for(double seconds) {
    struct epoll_event events[512];
    uint64_t until = now_ns(CLOCK_MONOTONIC) + (uint64_t)(seconds * 1e9);
    while (now_ns(CLOCK_MONOTONIC) < until) {
        int n = epoll_wait(epoll_fd, events, 512, 50);
        for (int i = 0; i < n; i++) {
            Seat *seat = events[i].data.ptr;
            size_t kept = (size_t)seat->tail_n;
            memcpy(buffer, seat->tail, kept);
            ssize_t got = recv(seat->fd, buffer + kept, READ, MSG_DONTWAIT);
            if (got > 0) {
                hear(seat, buffer, kept + (size_t)got);
            } else if (got == 0 || errno != EAGAIN) {
                closed++;
                epoll_ctl(epoll_fd, EPOLL_CTL_DEL, seat->fd, NULL);
            }
        }
    }
}

int main(int argc, char **argv) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (argc < 6) fail("HOST PORT PATH N SECONDS -w READY [-at K] [-protocol P] [-hello HEX] [-greeting HEX]", "");
    const char *path = argv[3], *ready = NULL;
    int number = atoi(argv[4]), at_a_time = 100;
    host = argv[1], port = atoi(argv[2]);
    for (int i = 6; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "-w")) ready = argv[i + 1];
        else if (!strcmp(argv[i], "-at")) at_a_time = atoi(argv[i + 1]);
        else if (!strcmp(argv[i], "-protocol")) protocol = argv[i + 1];
        else if (!strcmp(argv[i], "-hello")) hello_n = from_hex(argv[i + 1], hello, sizeof hello);
        else if (!strcmp(argv[i], "-greeting")) greeting_n = from_hex(argv[i + 1], greeting, sizeof greeting);
        else fail("unknown:", argv[i]);
    }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    FILE *paths = *path == '@' ? fopen(path + 1, "r") : NULL;
    if (!ready || (*path == '@' && !paths)) fail("no READY, or no such file:", path);
    Seat *seats = calloc((size_t)number, sizeof *seats);
    epoll_fd = epoll_create1(0);
    double took_s = join(seats, number, at_a_time, path, paths);
    char partly[4096];
    snprintf(partly, sizeof partly, "%s.part", ready);
    FILE *told = fopen(partly, "w");
    if (!told || fprintf(told, "%.6f\n", took_s) < 0 || fclose(told) || rename(partly, ready)) fail("cannot write", ready);
    listen_for(atof(argv[5]));
    double span_s = (double)(last_ns - first_ns) / 1e9;
    printf("conns=%d messages=%llu per_s=%.0f p50_ms=%.3f p99_ms=%.3f max_ms=%.1f closed=%d\n", number,
           (unsigned long long)messages, span_s > 0 ? (double)messages / span_s : 0, quantile_ms(0.5),
           quantile_ms(0.99), (double)most_us / 1e3, closed);
    return 0;
}
