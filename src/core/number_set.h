// A set of numbers that are given one after another from 0, such as parts of an array: a bit each.
#ifndef ALERTING_CORE_NUMBER_SET_H_
#define ALERTING_CORE_NUMBER_SET_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace alerting {

class NumberSet {
 public:
  void Insert(uint32_t number) {
    if (number >= bits_.size()) bits_.resize(size_t{number} + 1);
    if (bits_[number]) return;
    bits_[number] = true;
    ++size_;
  }
  void Erase(uint32_t number) {
    if (number >= bits_.size() || !bits_[number]) return;
    bits_[number] = false;
    --size_;
  }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  // Ascending.
  std::vector<uint32_t> Numbers() const {
    std::vector<uint32_t> numbers;
    if (empty()) return numbers;
    numbers.reserve(size_);
    for (size_t i = 0; i < bits_.size(); ++i) {
      if (bits_[i]) numbers.push_back(static_cast<uint32_t>(i));
    }
    return numbers;
  }

 private:
  std::vector<bool> bits_;
  size_t size_ = 0;
};

}  // namespace alerting

#endif  // ALERTING_CORE_NUMBER_SET_H_
