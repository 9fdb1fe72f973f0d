// The receiver that tests send webhooks to (test/receiver/receiver.py), as a child process.
// Run from the top of the tree, or with ALERTING_RECEIVER set to the receiver's path.
#ifndef ALERTING_TEST_NET_RECEIVER_H_
#define ALERTING_TEST_NET_RECEIVER_H_

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "core/address_policy.h"

namespace alerting::net {

class Receiver {
 public:
  explicit Receiver(std::vector<std::string> options = {}) {
    const char* path = std::getenv("ALERTING_RECEIVER");
    std::vector<std::string> words = {"python3", path ? path : "test/receiver/receiver.py", "--log",
                                      "/dev/null"};
    words.insert(words.end(), options.begin(), options.end());
    std::array<int, 2> pipe_ends{};
    EXPECT_EQ(pipe(pipe_ends.data()), 0);
    pid_ = fork();
    if (pid_ == 0) {
      dup2(pipe_ends[1], 1);
      std::vector<char*> arguments;
      for (std::string& word : words) arguments.push_back(word.data());
      arguments.push_back(nullptr);
      execvp("python3", arguments.data());
      _exit(127);
    }
    close(pipe_ends[1]);
    FILE* out = fdopen(pipe_ends[0], "r");
    EXPECT_EQ(std::fscanf(out, "ready %d", &port_), 1);
    std::fclose(out);
  }
  ~Receiver() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  std::string Url(const std::string& path, const std::string& host = "127.0.0.1",
                  const std::string& scheme = "http") const {
    return scheme + "://" + host + ":" + std::to_string(port_) + path;
  }
  int port() const { return port_; }

 private:
  pid_t pid_ = 0;
  int port_ = 0;
};

inline AddressPolicy Policy(std::string_view networks) {
  std::string error;
  return AddressPolicy::Parse(networks, &error).value();
}

}  // namespace alerting::net

#endif  // ALERTING_TEST_NET_RECEIVER_H_
