// Latency from COMMIT to a local webhook endpoint, and its floor. Prints p50 and p99 in
// microseconds, from COMMIT sent and from COMMIT returned. Built by bench/delivery.py:
//   g++ -O2 -I$(pg_config --includedir) -o latency latency.cpp -lpq
//   latency notify N            BEGIN; INSERT; NOTIFY; COMMIT -> wake-up of a LISTENing connection
//   latency alerting N PORT     a metric row that breaches a rule -> arrival of its webhook at the
//   sink
#include <arpa/inet.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

static long NowNanos() {
  timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return t.tv_sec * 1000000000L + t.tv_nsec;
}

static void Run(PGconn* connection, const std::string& sql) {
  PGresult* result = PQexec(connection, sql.c_str());
  const auto status = PQresultStatus(result);
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
    fprintf(stderr, "%s: %s", sql.c_str(), PQerrorMessage(connection));
    exit(1);
  }
  PQclear(result);
}

static PGconn* Connect() {
  PGconn* connection = PQconnectdb("");
  if (PQstatus(connection) != CONNECTION_OK) {
    fputs(PQerrorMessage(connection), stderr);
    exit(1);
  }
  return connection;
}

static void Report(const char* name, std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  printf("%s p50=%.0f p99=%.0f min=%.0f max=%.0f us\n", name, values[n / 2],
         values[static_cast<size_t>(static_cast<double>(n) * .99)], values[0], values[n - 1]);
}

// The arrival time of the newest request at the sink, 0 when there was none since the reset.
static std::string Get(int port, const char* path) {
  const int socket_fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(socket_fd, reinterpret_cast<sockaddr*>(&address), sizeof address)) exit(1);
  const std::string request = std::string("GET ") + path + " HTTP/1.1\r\n\r\n";
  if (write(socket_fd, request.data(), request.size()) < 0) exit(1);
  char bytes[8192];
  const ssize_t size = read(socket_fd, bytes, sizeof bytes - 1);
  close(socket_fd);
  bytes[size > 0 ? size : 0] = 0;
  const char* body = strstr(bytes, "\r\n\r\n");
  return body != nullptr ? body + 4 : "";
}

static void Notify(int n, std::vector<double>* sent, std::vector<double>* returned) {
  int ready[2], arrivals[2];
  if (pipe(ready) || pipe(arrivals)) exit(1);
  if (fork() == 0) {
    PGconn* listener = Connect();
    Run(listener, "listen alerts");
    if (write(ready[1], "x", 1) < 1) _exit(1);
    for (int got = 0; got < n;) {
      pollfd wait{PQsocket(listener), POLLIN, 0};
      poll(&wait, 1, -1);
      PQconsumeInput(listener);
      while (PGnotify* notification = PQnotifies(listener)) {
        const long now = NowNanos();
        PQfreemem(notification);
        ++got;
        if (write(arrivals[1], &now, sizeof now) < 0) _exit(1);
      }
    }
    _exit(0);
  }
  char go;
  if (read(ready[0], &go, 1) < 1) exit(1);
  PGconn* writer = Connect();
  Run(writer, "create table if not exists lat(id bigserial primary key, v text)");
  for (int i = 0; i < n; ++i) {
    Run(writer, "begin");
    Run(writer, "insert into lat(v) values ('x')");
    Run(writer, "notify alerts");
    const long before = NowNanos();
    Run(writer, "commit");
    const long after = NowNanos();
    long arrival;
    if (read(arrivals[0], &arrival, sizeof arrival) < 8) exit(1);
    sent->push_back(static_cast<double>(arrival - before) / 1e3);
    returned->push_back(static_cast<double>(arrival - after) / 1e3);
    usleep(2000);
  }
}

static void Alerting(int n, int port, std::vector<double>* sent, std::vector<double>* returned) {
  PGconn* writer = Connect();
  for (int i = 0; i < n; ++i) {
    (void)Get(port, "/reset");
    usleep(static_cast<useconds_t>(5000 + rand() % 10000));
    Run(writer, "begin");
    Run(writer, "insert into container_metrics(container_id, at, cpu_percent) values (" +
                    std::to_string(i) + ", now(), 99)");
    const long before = NowNanos();
    Run(writer, "commit");
    const long after = NowNanos();
    long arrival = 0;
    for (int k = 0; k < 5000 && arrival == 0; ++k) {
      usleep(1000);
      arrival = atol(Get(port, "/last").c_str());
    }
    if (arrival == 0) {
      puts("lost");
      continue;
    }
    sent->push_back(static_cast<double>(arrival - before) / 1e3);
    returned->push_back(static_cast<double>(arrival - after) / 1e3);
  }
}

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  std::vector<double> sent, returned;
  if (strcmp(argv[1], "notify") == 0) {
    Notify(atoi(argv[2]), &sent, &returned);
  } else {
    Alerting(atoi(argv[2]), atoi(argv[3]), &sent, &returned);
  }
  if (sent.empty()) return 1;
  Report("from COMMIT sent    ", sent);
  Report("from COMMIT returned", returned);
}
