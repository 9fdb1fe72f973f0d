/* Preloaded into a server by a test: while the file that NO_SOCKETS names exists, there is no
 * descriptor for another socket of IPv4. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int socket(int family, int type, int protocol) {
  const char *file = getenv("NO_SOCKETS");
  if (file != NULL && family == AF_INET && access(file, F_OK) == 0) {
    errno = EMFILE;
    return -1;
  }
  int (*next)(int, int, int) = (int (*)(int, int, int))dlsym(RTLD_NEXT, "socket");
  return next(family, type, protocol);
}
