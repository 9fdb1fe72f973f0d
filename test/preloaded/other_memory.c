/* Preloaded into a server by a test: its shared memory holds alerting's already, as another version of the
 * library lays it out. */
#include <stdbool.h>
#include <stddef.h>

typedef void (*hook)(void);
extern hook shmem_startup_hook __attribute__((weak));
extern void *ShmemInitStruct(const char *name, size_t size, bool *found) __attribute__((weak));

static hook next;

static void make_memory(void) {
  bool found;
  if (next != NULL) next();
  ShmemInitStruct("alerting", 100, &found);
}

/* Other programs than the server have no such hook. */
__attribute__((constructor)) static void install(void) {
  if (&shmem_startup_hook == NULL) return;
  next = shmem_startup_hook;
  shmem_startup_hook = make_memory;
}
