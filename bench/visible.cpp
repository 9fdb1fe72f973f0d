// Microseconds from sending COMMIT of a breaching metric row until its alert can be seen: the
// notification of channel "alerting" comes with the alert's own commit. Beside it the floor: a
// NOTIFY in the inserting transaction itself. Built by latency_load.py: visible N FIRST Prints
// "name p50 p99 max p10".
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <algorithm>
#include <string>
#include <vector>

static double Now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static PGconn* Connect() {
  PGconn* connection = PQconnectdb("");
  if (PQstatus(connection) != CONNECTION_OK) {
    fprintf(stderr, "visible: %s", PQerrorMessage(connection));
    exit(1);
  }
  return connection;
}

static void Run(PGconn* connection, const std::string& sql) {
  PGresult* result = PQexec(connection, sql.c_str());
  const ExecStatusType status = PQresultStatus(result);
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
    fprintf(stderr, "visible: %s", PQerrorMessage(connection));
    exit(1);
  }
  PQclear(result);
}

static void Await(PGconn* listener) {
  for (;;) {
    PQconsumeInput(listener);
    if (PGnotify* notification = PQnotifies(listener)) {
      PQfreemem(notification);
      return;
    }
    pollfd waiting = {PQsocket(listener), POLLIN, 0};
    if (poll(&waiting, 1, 30000) <= 0) {
      fprintf(stderr, "visible: nothing within 30 seconds\n");
      exit(1);
    }
  }
}

int main(int argc, char** argv) {
  const int count = atoi(argv[1]), first = argc > 2 ? atoi(argv[2]) : 1;
  PGconn* writer = Connect();
  PGconn* listener = Connect();
  Run(listener, "LISTEN alerting");
  Run(writer, "CREATE TEMP TABLE floor (id int)");
  std::vector<double> times[2];
  for (int i = 0; i < 2 * count; ++i) {
    const bool is_floor = i % 2 == 0;
    Run(writer, "BEGIN");
    Run(writer, is_floor ? "INSERT INTO floor VALUES (1); NOTIFY alerting, 'floor'"
                         : "INSERT INTO container_metrics VALUES (" +
                               std::to_string(first + i / 2) + ", now(), 99)");
    const double sent = Now();
    Run(writer, "COMMIT");
    Await(listener);
    times[is_floor ? 0 : 1].push_back(Now() - sent);
  }
  for (int i = 0; i < 2; ++i) {
    std::sort(times[i].begin(), times[i].end());
    printf("%s %.0f %.0f %.0f %.0f\n", i == 0 ? "floor" : "alerting", times[i][count / 2],
           times[i][count * 99 / 100], times[i].back(), times[i][count / 10]);
  }
}
