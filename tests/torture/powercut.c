/* Stands between a store and its disk and clock: records what fsync has made safe, and fails on command.
 *
 * Loaded with LD_PRELOAD; POWERCUT names the file of `struct control`, which the test maps, too (shim.py has the
 * same layout). Only the append-only files in a folder called wallet count.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define FILES 64

struct control {
  volatile uint64_t fsyncs;   /* done or failed so far */
  volatile uint64_t writes;
  volatile uint64_t eio_at;   /* the fsync with this number fails */
  volatile uint64_t full_at;  /* the write with this number writes half, and the next finds no space */
  volatile uint64_t slow_us;  /* every fsync takes this much longer */
  volatile uint64_t hold;     /* while it is set, no fsync returns */
  volatile int64_t clock_us;  /* the wall clock is off by this */
  volatile uint64_t held;     /* fsyncs that wait because of `hold` */
  struct {
    volatile uint64_t inode;
    volatile uint64_t synced; /* bytes that a power cut leaves */
  } file[FILES];
};

static struct control *control;

__attribute__((constructor)) static void map_control(void) {
  const char *path = getenv("POWERCUT");
  int fd = path ? open(path, O_RDWR) : -1;
  if (fd < 0) return;
  void *at = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at != MAP_FAILED) control = at;
  close(fd);
}

static int append_only(int fd, struct stat *about) {
  char link[64], name[4096];
  if (!control || fstat(fd, about) != 0 || !S_ISREG(about->st_mode)) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, name, sizeof name - 1);
  if (length < 9 || memcmp(name + length - 9, ".incr.aof", 9) != 0) return 0;
  name[length] = 0;
  return strstr(name, "/wallet/") != NULL;
}

static void note(const struct stat *about) {
  for (int n = 0; n < FILES; n++) {
    if (control->file[n].inode == 0) control->file[n].inode = about->st_ino;
    if (control->file[n].inode == about->st_ino) {
      control->file[n].synced = about->st_size;
      return;
    }
  }
}

static int synced(int fd, const char *name) {
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
  struct stat before; /* the fsync may miss what is written while it runs */
  if (!append_only(fd, &before)) return real(fd);
  uint64_t number = __sync_add_and_fetch(&control->fsyncs, 1);
  if (control->slow_us) usleep(control->slow_us);
  if (control->hold) {
    __sync_add_and_fetch(&control->held, 1);
    while (control->hold) usleep(500);
  }
  if (number == control->eio_at) {
    errno = EIO;
    return -1;
  }
  int done = real(fd);
  if (done == 0) note(&before);
  return done;
}

int fsync(int fd) { return synced(fd, "fsync"); }
int fdatasync(int fd) { return synced(fd, "fdatasync"); }

ssize_t write(int fd, const void *data, size_t size) {
  static ssize_t (*real)(int, const void *, size_t);
  if (!real) real = (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
  struct stat about;
  if (!control || !control->full_at || !append_only(fd, &about)) return real(fd, data, size);
  uint64_t number = __sync_add_and_fetch(&control->writes, 1);
  if (number == control->full_at && size > 1) return real(fd, data, size / 2);
  if (number == control->full_at + 1) {
    errno = ENOSPC;
    return -1;
  }
  return real(fd, data, size);
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
  static int (*real)(struct timeval *, void *);
  if (!real) real = (int (*)(struct timeval *, void *))dlsym(RTLD_NEXT, "gettimeofday");
  int done = real(at, zone);
  if (done == 0 && control && control->clock_us) {
    int64_t us = (int64_t)at->tv_sec * 1000000 + at->tv_usec + control->clock_us;
    at->tv_sec = us / 1000000;
    at->tv_usec = us % 1000000;
  }
  return done;
}

int clock_gettime(clockid_t which, struct timespec *at) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  int done = real(which, at);
  if (done == 0 && which == CLOCK_REALTIME && control) at->tv_sec += control->clock_us / 1000000;
  return done;
}
