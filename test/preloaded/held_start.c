/* Preloaded into a server by a test: while the file that HELD_START names exists, a background
 * worker that starts stands still where the server has forked it, but not yet told it to ignore
 * SIGHUP. It says so by a file of the same name with ".held". */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int sigaction(int number, const struct sigaction *restrict action, struct sigaction *restrict old) {
  const char *file = getenv("HELD_START");
  if (file != NULL && number == SIGHUP && action != NULL && action->sa_handler == SIG_IGN &&
      access(file, F_OK) == 0) {
    char held[4096];
    snprintf(held, sizeof(held), "%s.held", file);
    close(open(held, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    while (access(file, F_OK) == 0) usleep(1000);
  }
  int (*next)(int, const struct sigaction *, struct sigaction *) =
      (int (*)(int, const struct sigaction *, struct sigaction *))dlsym(RTLD_NEXT, "sigaction");
  return next(number, action, old);
}
