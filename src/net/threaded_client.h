// A WebhookClient that a thread of its own drives while many requests are under way, so that they
// go on while the caller does something else: the sender's own thread reads, signs and records what
// the other sends. With few requests under way the caller drives it: a hop to another thread would
// only cost latency. Sender.
//
// Invariants: one thread at a time uses the WebhookClient, whoever holds it by `lent_` and `busy_`;
// requests go in and responses come out by value, under `mutex_`, which is never held over a call
// into libcurl or a wait for the network. The thread calls nothing of PostgreSQL and takes no
// signals. Where no thread can be made, the caller drives.
#ifndef ALERTING_NET_THREADED_CLIENT_H_
#define ALERTING_NET_THREADED_CLIENT_H_

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "net/webhook_client.h"

namespace alerting::net {

class ThreadedClient {
 public:
  // With so many requests under way the thread takes over, with fewer than so many the caller does,
  // each when it has been so for some calls of OnReady: the first requests of a storm would wait
  // for a thread to be made and to get its turn, and under a backlog there are few for a moment
  // whenever all have been answered at once.
  static constexpr size_t kLendFrom = 32;
  static constexpr size_t kTakeBackBelow = 8;
  static constexpr int kRounds = 8;

  // nullptr: libcurl or the kernel refused, and `error` says what.
  static std::unique_ptr<ThreadedClient> Create(ClientOptions options, std::string* error);
  // Only Create calls it.
  explicit ThreadedClient(std::unique_ptr<WebhookClient> client);
  ~ThreadedClient();
  ThreadedClient(const ThreadedClient&) = delete;
  ThreadedClient& operator=(const ThreadedClient&) = delete;

  // As WebhookClient's.
  void SetPolicy(AddressPolicy policy);
  void SetTlsFiles(TlsFiles files);
  void SetMaxConnections(long count);
  // Hands them over together, and leaves the list empty.
  void Start(std::vector<Request>* requests);
  int PollDescriptor() const { return epoll_.get(); }
  std::optional<long> TimeoutMs() const;
  void OnReady();
  std::vector<Response> TakeFinished();
  size_t active() const { return active_; }

  // The thread drives it.
  bool lent() const { return with_thread_; }
  // The thread ran out of memory, and requests were lost: no answer to them will come.
  bool failed();
  // Ends the thread, as a process has to before it exits. What is under way goes no further.
  void EndThread() noexcept;

 private:
  void Lend();
  void TakeBack();
  bool MakeThread();
  void Run() noexcept;
  void DriveWhenLent();
  void WaitForWork(std::unique_lock<std::mutex>* lock);
  void WatchClient(bool watch);

  // The caller's alone.
  const Descriptor epoll_;  // what the caller waits for: the client's sockets, or `to_caller_`
  size_t active_ = 0;
  bool with_thread_ = false;  // `lent_` as the caller set it
  int rounds_ = 0;            // calls of OnReady since when the other one should drive
  bool no_thread_ = false;    // none could be made
  std::thread thread_;

  const Descriptor to_caller_;
  const Descriptor to_thread_;
  const std::unique_ptr<WebhookClient> client_;  // of whoever drives

  std::mutex mutex_;
  std::condition_variable changed_;
  bool lent_ = false;                // the thread shall drive
  bool busy_ = false;                // the thread may be using the client
  bool waits_ = false;               // for its sockets and `to_thread_`
  bool stop_ = false;                // the thread shall end
  bool failed_ = false;              // see failed()
  bool called_ = false;              // `to_caller_` is readable
  std::vector<Request> requests_;    // to the thread
  std::vector<Response> responses_;  // from the thread
};

}  // namespace alerting::net

#endif  // ALERTING_NET_THREADED_CLIENT_H_
