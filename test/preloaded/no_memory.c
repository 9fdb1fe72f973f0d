/* Preloaded into a server by a test: what the file that NO_MEMORY names says ("evaluator 120") happens
 * once, and the file goes: the 120th time that this worker (or "session": who is no worker) asks C++ for
 * memory, counted since the file is there, there is none. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int is_of(const char *kind) {
  /* Of a background worker PostgreSQL keeps what it was registered with, its name first. */
  const char *const *worker = (const char *const *)dlsym(RTLD_DEFAULT, "MyBgworkerEntry");
  if (worker == NULL || *worker == NULL) return strcmp(kind, "session") == 0;
  return strstr(*worker, kind) != NULL;
}

static int fails(void) {
  static const char *file = NULL;
  static long asked = 0;
  char kind[32];
  long number;
  if (file == NULL) file = getenv("NO_MEMORY");
  if (file == NULL || access(file, F_OK) != 0) {
    asked = 0;
    return 0;
  }
  FILE *order = fopen(file, "re");
  if (order == NULL) return 0;
  const int read = fscanf(order, "%31s %ld", kind, &number);
  fclose(order);
  if (read != 2 || !is_of(kind) || ++asked < number) return 0;
  asked = 0;
  unlink(file);
  return 1;
}

/* operator new and operator new[]; more than there can be makes the next one throw. */
void *_Znwm(size_t size) {
  static void *(*next)(size_t) = NULL;
  if (next == NULL) next = (void *(*)(size_t))dlsym(RTLD_NEXT, "_Znwm");
  return next(fails() ? PTRDIFF_MAX : size);
}

void *_Znam(size_t size) {
  static void *(*next)(size_t) = NULL;
  if (next == NULL) next = (void *(*)(size_t))dlsym(RTLD_NEXT, "_Znam");
  return next(fails() ? PTRDIFF_MAX : size);
}
