/* The floor: what a server costs that only passes on. One room, websockets, epoll, one core; Linux only.
 *
 *   floor PORT TICK_MS
 *
 * Who asks for /bot speaks, and everybody else hears it: one write per viewer at the end of each turn of the loop, or
 * on the multiples of TICK_MS. Events are frames in one stream of bytes, in which each viewer has a place. It checks
 * nothing, keeps no history, and answers each upgrade as RFC 6455 does its example (1.3), whose key audience.c sends.
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
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { PEOPLE_MAX = 100000, STREAM_MAX = 1 << 28, HEAD_MAX = 8192, READ = 65536, EVENTS = 512 };
static const char welcome[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                              "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

typedef struct {
    int fd, seat;        /* seat: its place among the viewers, -1 for others */
    int waits;           /* the kernel takes no more of its bytes for now */
    size_t at;           /* how much of the stream it has */
    unsigned char *rest; /* what a bot, or who is not in yet, has sent and nobody has read */
    size_t rest_n;
} Person;

static int epoll_fd, viewers_n;
static Person *viewers[PEOPLE_MAX];
static unsigned char *stream;
static size_t said, flushed; /* bytes of the stream: all, and those that were written */

static void fail(const char *why) {
    perror(why);
    exit(1);
}

static uint64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void watch(Person *who, int op, uint32_t what) {
    struct epoll_event event = {.events = what, .data.ptr = who};
    if (epoll_ctl(epoll_fd, op, who->fd, &event)) fail("epoll_ctl");
}

/* The memory of a person stays: another event of this turn may name them. */
static void leave(Person *who) {
    if (who->fd < 0) return;
    close(who->fd);
    if (who->seat >= 0) {
        viewers[who->seat] = viewers[--viewers_n];
        viewers[who->seat]->seat = who->seat;
    }
    free(who->rest);
    who->rest = NULL, who->fd = who->seat = -1;
}

/* --- what is said --------------------------------------------------------------------------------------------- */
static void say(const unsigned char *text, size_t n) {
    if (said + n + 4 > STREAM_MAX) fail("more was said than the stream holds");
    stream[said++] = 0x81;
    stream[said++] = n < 126 ? (unsigned char)n : 126;
    if (n >= 126) stream[said++] = (unsigned char)(n >> 8), stream[said++] = (unsigned char)n;
    memcpy(stream + said, text, n);
    said += n;
}

/* Read the whole frames of a bot (RFC 6455, 5.2: masked, below 64 KiB). Returns the bytes used. */
static size_t hear(unsigned char *data, size_t n) {
    size_t at = 0;
    while (n - at >= 6) {
        size_t size = data[at + 1] & 127, head = 2;
        if (size == 126) size = (size_t)data[at + 2] << 8 | data[at + 3], head = 4;
        if (n - at < head + 4 + size) break;
        unsigned char *mask = data + at + head, *text = mask + 4;
        for (size_t i = 0; i < size; i++) text[i] ^= mask[i & 3];
        if ((data[at] & 15) < 3) say(text, size);
        at += head + 4 + size;
    }
    return at;
}

static void write_to(Person *who) {
    while (who->at < said) {
        ssize_t n = send(who->fd, stream + who->at, said - who->at, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) return leave(who);
        if (n < 0) return who->waits = 1, watch(who, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
        who->at += (size_t)n;
    }
    if (who->waits) who->waits = 0, watch(who, EPOLL_CTL_MOD, EPOLLIN);
}

static void flush(void) {
    for (int seat = viewers_n - 1; seat >= 0; seat--) /* downwards: who leaves is replaced by the last */
        if (!viewers[seat]->waits) write_to(viewers[seat]);
    flushed = said;
}

/* --- who comes ------------------------------------------------------------------------------------------------ */
static void greet(int listener) {
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        Person *who = calloc(1, sizeof *who);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        who->fd = fd, who->seat = -1, who->rest = malloc(READ);
        watch(who, EPOLL_CTL_ADD, EPOLLIN);
    }
}

static void read_from(Person *who) {
    static unsigned char unread[READ];
    unsigned char *into = who->seat < 0 ? who->rest + who->rest_n : unread;
    ssize_t n = recv(who->fd, into, READ - who->rest_n, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) return leave(who);
    if (who->seat >= 0) return; /* a viewer has nothing to say */
    who->rest_n += (size_t)n;
    if (who->at == 0) { /* not in yet: a bot's place is 1 */
        unsigned char *end = memmem(who->rest, who->rest_n, "\r\n\r\n", 4);
        if (!end) return who->rest_n >= HEAD_MAX ? leave(who) : (void)0;
        if (send(who->fd, welcome, sizeof welcome - 1, MSG_NOSIGNAL) < 0) return leave(who);
        if (memcmp(who->rest, "GET /bot", 8)) {
            if (viewers_n == PEOPLE_MAX) return leave(who);
            free(who->rest);
            who->rest = NULL, who->rest_n = 0, who->at = said, who->seat = viewers_n;
            viewers[viewers_n++] = who;
            return;
        }
        who->at = 1;
        who->rest_n -= (size_t)(end + 4 - who->rest);
        memmove(who->rest, end + 4, who->rest_n);
    }
    size_t used = hear(who->rest, who->rest_n);
    memmove(who->rest, who->rest + used, who->rest_n -= used);
}

int main(int argc, char **argv) {
    if (argc != 3) return fprintf(stderr, "floor PORT TICK_MS\n"), 2;
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1]))};
    struct rlimit files;
    struct epoll_event events[EVENTS];
    uint64_t tick_ms = (uint64_t)atoi(argv[2]), due = 0;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    inet_pton(AF_INET, "127.0.0.1", &here.sin_addr);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&here, sizeof here) || listen(listener, 4096)) fail("listen");
    stream = mmap(NULL, STREAM_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stream == MAP_FAILED) fail("mmap");
    epoll_fd = epoll_create1(0);
    Person door = {.fd = listener, .seat = -1};
    watch(&door, EPOLL_CTL_ADD, EPOLLIN);
    for (;;) {
        uint64_t now = now_ms();
        int n = epoll_wait(epoll_fd, events, EVENTS, said == flushed ? -1 : due > now ? (int)(due - now) : 0);
        for (int i = 0; i < n; i++) {
            Person *who = events[i].data.ptr;
            if (who == &door) greet(listener);
            else if (who->fd >= 0 && events[i].events & EPOLLOUT) write_to(who);
            else if (who->fd >= 0) read_from(who);
        }
        if (said == flushed) due = 0;
        else if (!due && tick_ms) due = (now_ms() / tick_ms + 1) * tick_ms;
        if (said > flushed && due <= now_ms()) flush(), due = 0;
    }
}
