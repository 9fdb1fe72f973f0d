// Implements core/handover.h.
#include "core/handover.h"

#include <cstring>

namespace alerting {

namespace {

template <typename T>
void Put(T value, std::string* out) {
  out->append(reinterpret_cast<const char*>(&value), sizeof value);
}

void PutText(std::string_view text, std::string* out) {
  Put(static_cast<uint32_t>(text.size()), out);
  out->append(text);
}

// Reads what Put and PutText wrote; once something is missing, nothing more.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  bool failed() const { return failed_; }
  bool at_end() const { return rest_.empty(); }

  template <typename T>
  T Get() {
    T value{};
    const std::string_view bytes = Take(sizeof value);
    if (!failed_) std::memcpy(&value, bytes.data(), sizeof value);
    return value;
  }
  std::string GetText() { return std::string(Take(Get<uint32_t>())); }

 private:
  std::string_view Take(size_t size) {
    if (failed_ || size > rest_.size()) {
      failed_ = true;
      rest_ = {};
      return {};
    }
    const std::string_view bytes = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return bytes;
  }

  std::string_view rest_;
  bool failed_ = false;
};

}  // namespace

std::string WriteHandover(uint32_t transaction, std::span<const HandedDelivery> deliveries) {
  std::string bytes;
  Put(transaction, &bytes);
  Put(static_cast<uint32_t>(deliveries.size()), &bytes);
  for (const HandedDelivery& delivery : deliveries) {
    PutText(delivery.id, &bytes);
    PutText(delivery.webhook_id, &bytes);
    PutText(delivery.webhook_version, &bytes);
    PutText(delivery.body, &bytes);
    Put(delivery.due, &bytes);
    Put(delivery.block, &bytes);
    Put(delivery.offset, &bytes);
  }
  return bytes;
}

bool HandoverInbox::Add(std::string_view bytes) {
  Reader reader(bytes);
  while (!reader.at_end()) {
    Batch batch;
    batch.transaction = reader.Get<uint32_t>();
    const auto count = reader.Get<uint32_t>();
    for (uint32_t i = 0; i < count && !reader.failed(); ++i) {
      HandedDelivery& delivery = batch.deliveries.emplace_back();
      delivery.id = reader.GetText();
      delivery.webhook_id = reader.GetText();
      delivery.webhook_version = reader.GetText();
      delivery.body = reader.GetText();
      delivery.due = reader.Get<Micros>();
      delivery.block = reader.Get<uint32_t>();
      delivery.offset = reader.Get<uint16_t>();
    }
    if (reader.failed()) return false;
    batches_.push_back(std::move(batch));
  }
  return true;
}

void HandoverInbox::Forget(std::string_view id) {
  for (Batch& batch : batches_) {
    std::erase_if(batch.deliveries, [&](const HandedDelivery& one) { return one.id == id; });
  }
}

}  // namespace alerting
