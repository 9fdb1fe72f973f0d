// Implements net/threaded_client.h.
#include "net/threaded_client.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <iterator>
#include <system_error>
#include <utility>

namespace alerting::net {
namespace {

void Signal(const Descriptor& event) {
  const uint64_t one = 1;
  // It fails only when the event is readable already.
  (void)!write(event.get(), &one, sizeof(one));
}

void Clear(const Descriptor& event) {
  uint64_t count = 0;
  (void)!read(event.get(), &count, sizeof(count));
}

bool Watch(const Descriptor& epoll, int fd, int operation, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  return epoll_ctl(epoll.get(), operation, fd, &event) == 0;
}

}  // namespace

std::unique_ptr<ThreadedClient> ThreadedClient::Create(ClientOptions options, std::string* error) {
  auto inner = WebhookClient::Create(std::move(options), error);
  if (inner == nullptr) return nullptr;
  const int sockets = inner->PollDescriptor();
  auto client = std::make_unique<ThreadedClient>(std::move(inner));
  if (!Watch(client->epoll_, sockets, EPOLL_CTL_ADD, EPOLLIN) ||
      !Watch(client->epoll_, client->to_caller_.get(), EPOLL_CTL_ADD, EPOLLIN) ||
      client->to_thread_.get() < 0) {
    *error = "epoll descriptor could not be made";
    return nullptr;
  }
  return client;
}

ThreadedClient::ThreadedClient(std::unique_ptr<WebhookClient> client)
    : epoll_(epoll_create1(EPOLL_CLOEXEC)),
      to_caller_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      to_thread_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      client_(std::move(client)) {}

ThreadedClient::~ThreadedClient() { EndThread(); }

void ThreadedClient::SetPolicy(AddressPolicy policy) {
  TakeBack();
  client_->SetPolicy(std::move(policy));
}

void ThreadedClient::SetTlsFiles(TlsFiles files) {
  TakeBack();
  client_->SetTlsFiles(std::move(files));
}

void ThreadedClient::SetMaxConnections(long count) {
  TakeBack();
  client_->SetMaxConnections(count);
}

void ThreadedClient::Start(std::vector<Request>* requests) {
  if (requests->empty()) return;
  active_ += requests->size();
  if (!with_thread_) {
    for (Request& request : *requests) client_->Start(std::move(request));
  } else {
    const std::lock_guard<std::mutex> lock(mutex_);
    requests_.insert(requests_.end(), std::make_move_iterator(requests->begin()),
                     std::make_move_iterator(requests->end()));
    if (std::exchange(waits_, false)) Signal(to_thread_);
  }
  requests->clear();
}

std::optional<long> ThreadedClient::TimeoutMs() const {
  return with_thread_ ? std::nullopt : client_->TimeoutMs();
}

void ThreadedClient::OnReady() {
  if (with_thread_) {
    rounds_ = active_ < kTakeBackBelow ? rounds_ + 1 : 0;
    if (rounds_ >= kRounds) TakeBack();
  }
  if (with_thread_) return;
  client_->OnReady();
  rounds_ = active_ >= kLendFrom ? rounds_ + 1 : 0;
  if (rounds_ >= kRounds) Lend();
}

std::vector<Response> ThreadedClient::TakeFinished() {
  std::vector<Response> finished;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    finished.swap(responses_);
    if (std::exchange(called_, false)) Clear(to_caller_);
  }
  if (!with_thread_) {
    std::vector<Response> own = client_->TakeFinished();
    finished.insert(finished.end(), std::make_move_iterator(own.begin()),
                    std::make_move_iterator(own.end()));
  }
  active_ -= finished.size();
  return finished;
}

bool ThreadedClient::failed() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return failed_;
}

bool ThreadedClient::MakeThread() {
  if (thread_.joinable()) return true;
  if (no_thread_) return false;
  const SignalBlock block;  // which the thread inherits
  try {
    thread_ = std::thread([this] { Run(); });
  } catch (const std::system_error&) {
    no_thread_ = true;
  }
  return !no_thread_;
}

void ThreadedClient::Lend() {
  if (!MakeThread()) return;
  WatchClient(false);
  with_thread_ = true;
  rounds_ = 0;
  const std::lock_guard<std::mutex> lock(mutex_);
  lent_ = true;
  changed_.notify_all();
}

void ThreadedClient::TakeBack() {
  if (!with_thread_) return;
  std::vector<Request> requests;
  {
    std::unique_lock<std::mutex> lock(mutex_);
    lent_ = false;
    if (std::exchange(waits_, false)) Signal(to_thread_);
    changed_.wait(lock, [this] { return !busy_; });
    requests.swap(requests_);
  }
  with_thread_ = false;
  rounds_ = 0;
  WatchClient(true);
  for (Request& request : requests) client_->Start(std::move(request));
}

void ThreadedClient::WatchClient(bool watch) {
  (void)Watch(epoll_, client_->PollDescriptor(), EPOLL_CTL_MOD, watch ? uint32_t{EPOLLIN} : 0);
}

void ThreadedClient::EndThread() noexcept {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
    if (std::exchange(waits_, false)) Signal(to_thread_);
    changed_.notify_all();
  }
  thread_.join();
}

void ThreadedClient::Run() noexcept {
  try {
    DriveWhenLent();
  } catch (...) {
    const std::lock_guard<std::mutex> lock(mutex_);
    failed_ = true;
    busy_ = false;
    called_ = true;
    Signal(to_caller_);
    changed_.notify_all();
  }
}

void ThreadedClient::DriveWhenLent() {
  std::vector<Request> requests;
  std::unique_lock<std::mutex> lock(mutex_);
  while (!stop_) {
    if (!lent_) {
      busy_ = false;
      changed_.notify_all();
      changed_.wait(lock, [this] { return lent_ || stop_; });
      continue;
    }
    busy_ = true;
    requests.swap(requests_);
    lock.unlock();
    for (Request& request : requests) client_->Start(std::move(request));
    requests.clear();
    client_->OnReady();
    std::vector<Response> responses = client_->TakeFinished();
    lock.lock();
    if (!responses.empty()) {
      responses_.insert(responses_.end(), std::make_move_iterator(responses.begin()),
                        std::make_move_iterator(responses.end()));
      if (!std::exchange(called_, true)) Signal(to_caller_);
    }
    if (lent_ && !stop_ && requests_.empty()) WaitForWork(&lock);
  }
}

void ThreadedClient::WaitForWork(std::unique_lock<std::mutex>* lock) {
  waits_ = true;
  lock->unlock();
  std::array<pollfd, 2> events{pollfd{client_->PollDescriptor(), POLLIN, 0},
                               pollfd{to_thread_.get(), POLLIN, 0}};
  (void)poll(events.data(), events.size(), static_cast<int>(client_->TimeoutMs().value_or(-1)));
  lock->lock();
  // Whoever signals takes the mark away.
  if (!std::exchange(waits_, false)) Clear(to_thread_);
}

}  // namespace alerting::net
