/* Preloaded into a server by a test: its wall clock is off by the seconds in the file that
 * SHIFTED_CLOCK names, a native 64-bit integer, which the test may change at any time. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int64_t shift(void) {
  static const volatile int64_t *shared = NULL;
  if (shared == NULL) {
    const char *path = getenv("SHIFTED_CLOCK");
    const int file = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    void *mapped = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (mapped == MAP_FAILED) return 0;
    shared = mapped;
  }
  return *shared;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  struct timespec true_time;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &true_time);
  now->tv_sec = true_time.tv_sec + (time_t)shift();
  now->tv_usec = true_time.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *result) {
  struct timeval now;
  gettimeofday(&now, NULL);
  if (result != NULL) *result = now.tv_sec;
  return now.tv_sec;
}
