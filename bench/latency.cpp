// Latency from COMMIT to a local webhook endpoint, beside its floor, taken in turns. Built by
// bench/delivery.py:
//   g++ -O2 -pthread -I$(pg_config --includedir) -o latency latency.cpp -lpq -lcurl
//   latency N PORT FIRST [alone]
// It listens on PORT and answers 204. Each of N rounds takes one of both:
//   floor     BEGIN; INSERT; NOTIFY; COMMIT -> a LISTENing connection wakes -> one libcurl request
//             over a kept connection -> arrival. With "alone" it is left out.
//   alerting  BEGIN; INSERT of a metric row of container FIRST + i that breaches; COMMIT -> arrival
//             of its webhook.
// Prints "name p50 p99 max p10", in microseconds from the moment COMMIT is sent.
#include <arpa/inet.h>
#include <curl/curl.h>
#include <libpq-fe.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <string>
#include <thread>
#include <vector>

static int arrivals[2];  // a pipe of the times at which requests were complete

static long NowNanos() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000L + t.tv_nsec;
}

static void Die(const char* what) {
  fprintf(stderr, "latency: %s\n", what);
  exit(1);
}

static void Run(PGconn* connection, const std::string& sql) {
  PGresult* result = PQexec(connection, sql.c_str());
  const auto status = PQresultStatus(result);
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) Die(PQerrorMessage(connection));
  PQclear(result);
}

static PGconn* Connect() {
  PGconn* connection = PQconnectdb("");
  if (PQstatus(connection) != CONNECTION_OK) Die(PQerrorMessage(connection));
  return connection;
}

// True: `bytes` holds a whole request.
static bool IsWhole(const std::string& bytes) {
  const size_t head = bytes.find("\r\n\r\n");
  if (head == std::string::npos) return false;
  const char* length = strcasestr(bytes.c_str(), "\r\ncontent-length:");
  return bytes.size() >= head + 4 + (length != nullptr ? strtoul(length + 17, nullptr, 10) : 0);
}

static int Listen(int port) {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  const int one = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) Die("bind");
  if (listen(listener, 64) != 0) Die("listen");
  return listener;
}

static void Serve(int listener) {
  std::vector<pollfd> waits = {{listener, POLLIN, 0}};
  std::map<int, std::string> bytes;
  char buffer[65536];
  for (;;) {
    poll(waits.data(), waits.size(), -1);
    if (waits[0].revents != 0) {
      const int peer = accept(listener, nullptr, nullptr);
      const int one = 1;
      setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
      waits.push_back({peer, POLLIN, 0});
    }
    for (size_t i = 1; i < waits.size(); ++i) {
      if (waits[i].revents == 0) continue;
      const int peer = waits[i].fd;
      const ssize_t size = read(peer, buffer, sizeof buffer);
      if (size <= 0) {
        close(peer);
        bytes.erase(peer);
        waits.erase(waits.begin() + static_cast<long>(i));
        break;
      }
      if (!IsWhole(bytes[peer].append(buffer, static_cast<size_t>(size)))) continue;
      const long now = NowNanos();
      bytes[peer].clear();
      constexpr char kAnswer[] = "HTTP/1.1 204 No Content\r\n\r\n";
      if (write(peer, kAnswer, sizeof kAnswer - 1) < 0 ||
          write(arrivals[1], &now, sizeof now) < 0) {
        Die("write");
      }
    }
  }
}

static void ListenAndPost(int port) {
  PGconn* listener = Connect();
  Run(listener, "listen latency_floor");
  CURL* easy = curl_easy_init();
  const std::string url = "http://127.0.0.1:" + std::to_string(port) + "/floor";
  const std::string body(800, 'x');
  curl_easy_setopt(easy, CURLOPT_URL, url.c_str());
  curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, static_cast<long>(body.size()));
  curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body.c_str());
  if (curl_easy_perform(easy) != CURLE_OK) Die("floor's request failed");  // "ready"
  for (;;) {
    pollfd wait{PQsocket(listener), POLLIN, 0};
    poll(&wait, 1, -1);
    PQconsumeInput(listener);
    while (PGnotify* notification = PQnotifies(listener)) {
      PQfreemem(notification);
      if (curl_easy_perform(easy) != CURLE_OK) Die("floor's request failed");
    }
  }
}

static long Arrival() {
  pollfd wait{arrivals[0], POLLIN, 0};
  if (poll(&wait, 1, 30000) != 1) Die("no request in 30 s");
  long at = 0;
  if (read(arrivals[0], &at, sizeof at) != sizeof at) Die("read");
  return at;
}

static void Report(const char* name, std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  printf("%s %.0f %.0f %.0f %.0f\n", name, values[n / 2], values[n - 1 - n / 100], values[n - 1],
         values[n / 10]);
}

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  const int rounds = atoi(argv[1]), port = atoi(argv[2]), first = atoi(argv[3]);
  const bool with_floor = argc == 4;
  if (pipe(arrivals) != 0) Die("pipe");
  curl_global_init(CURL_GLOBAL_ALL);
  std::thread(Serve, Listen(port)).detach();
  PGconn* writer = Connect();
  if (with_floor) {
    Run(writer, "create table if not exists latency_floor(id bigserial primary key, v text)");
    std::thread(ListenAndPost, port).detach();
    (void)Arrival();
  }
  const auto sample = [&](const std::string& insert) {
    usleep(static_cast<useconds_t>(5000 + rand() % 10000));
    Run(writer, "begin; " + insert);
    const long before = NowNanos();
    Run(writer, "commit");
    return static_cast<double>(Arrival() - before) / 1e3;
  };
  std::vector<double> floor, alerting;
  for (int i = 0; i < rounds; ++i) {
    if (with_floor) {
      floor.push_back(sample("insert into latency_floor(v) values ('x'); notify latency_floor"));
    }
    alerting.push_back(
        sample("insert into container_metrics(container_id, at, cpu_percent) values (" +
               std::to_string(first + i) + ", clock_timestamp(), 99)"));
  }
  if (with_floor) Report("floor", floor);
  Report("alerting", alerting);
  fflush(stdout);
  _exit(0);  // the threads wait for ever
}
