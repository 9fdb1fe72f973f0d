// How many transitions of a storm are written in one transaction: the first is small, so that its
// webhooks leave at once, the others grow as long as they are short. Runs in the evaluator; pure.
#ifndef ALERTING_CORE_BATCH_LIMIT_H_
#define ALERTING_CORE_BATCH_LIMIT_H_

#include <algorithm>
#include <chrono>
#include <cstddef>

namespace alerting {

class BatchLimit {
 public:
  using Seconds = std::chrono::duration<double>;

  // Of what starts with `first`; never less than `least` afterwards, nor more than `most`.
  BatchLimit(size_t first, size_t least, size_t most, Seconds longest)
      : limit_(first), least_(least), most_(most), longest_(longest) {}

  size_t get() const { return limit_; }

  // A batch of `size` took so long. One that was cut short before the limit, as no more alerts of
  // one pair go into a transaction, tells nothing of a full one, unless it was long itself.
  void Took(size_t size, Seconds took) {
    const double growth = std::min(longest_ / took, kMostGrowth);
    if (size >= limit_ || growth < 1) {
      limit_ = static_cast<size_t>(static_cast<double>(size) * growth);
    }
    limit_ = std::clamp(limit_, least_, most_);
  }

 private:
  static constexpr double kMostGrowth = 4;

  size_t limit_;
  size_t least_, most_;
  Seconds longest_;
};

}  // namespace alerting

#endif  // ALERTING_CORE_BATCH_LIMIT_H_
