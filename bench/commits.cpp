// Commits one breaching metric row after the other at moments of its own, waiting for nobody, in
// turns over the given tables. Built by bench/peers.py:
//   g++ -O2 -I$(pg_config --includedir) -o commits commits.cpp -lpq
//   commits FIRST ROUNDS LEAST MOST TABLE...
// Between two commits lie LEAST to MOST microseconds. Each row is of a container of its own,
// ctr-FIRST, ctr-FIRST+1, ... Prints "table container nanoseconds": the moment at which COMMIT was
// sent.
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <string>

static void Run(PGconn* connection, const std::string& sql) {
  PGresult* result = PQexec(connection, sql.c_str());
  if (PQresultStatus(result) != PGRES_COMMAND_OK) {
    fprintf(stderr, "commits: %s", PQerrorMessage(connection));
    exit(1);
  }
  PQclear(result);
}

static long Now() {
  timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return t.tv_sec * 1000000000L + t.tv_nsec;
}

int main(int argc, char** argv) {
  if (argc < 6) return 2;
  long container = atol(argv[1]);
  const long rounds = atol(argv[2]), least = atol(argv[3]), most = atol(argv[4]);
  PGconn* connection = PQconnectdb("");
  long due = Now();
  for (long i = 0; i < rounds; ++i) {
    for (int table = 5; table < argc; ++table, ++container) {
      due += 1000 * (least + random() % (most - least + 1));
      const timespec until{due / 1000000000L, due % 1000000000L};
      clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &until, nullptr);
      Run(connection, "BEGIN");
      const long begun = Now();
      Run(connection, std::string("INSERT INTO ") + argv[table] + " VALUES ('ctr-" +
                          std::to_string(container) + "', now(), 99, 50, true, 0)");
      const long sent = Now();
      Run(connection, "COMMIT");
      printf("%s %ld %ld %ld\n", argv[table], container, begun, sent);
    }
  }
}
