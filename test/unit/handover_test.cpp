#include "core/handover.h"

#include <gtest/gtest.h>

#include <map>

namespace alerting {
namespace {

HandedDelivery Delivery(const std::string& id, Micros due = 1) {
  return {id, "webhook of " + id, "7(0,1)", "{\"body\": \"" + id + "\"}", due, 70'000, 12};
}

std::string Write(uint32_t transaction, const std::vector<HandedDelivery>& deliveries) {
  return WriteHandover(transaction, deliveries);
}

class HandoverTest : public testing::Test {
 protected:
  std::vector<HandedDelivery> Take() {
    return inbox_.TakeCommitted([&](uint32_t transaction) { return states_.at(transaction); });
  }

  HandoverInbox inbox_;
  std::map<uint32_t, TransactionState> states_;
};

TEST_F(HandoverTest, CommittedDeliveriesComeWholeAndInOrder) {
  HandedDelivery binary = Delivery("b", -5);
  binary.body = std::string("\0\xff{}\n", 5);
  ASSERT_TRUE(inbox_.Add(Write(7, {Delivery("a"), binary}) + Write(9, {Delivery("c", kNever)})));
  states_ = {{7, TransactionState::kCommitted}, {9, TransactionState::kCommitted}};
  EXPECT_EQ(Take(), (std::vector{Delivery("a"), binary, Delivery("c", kNever)}));
  EXPECT_TRUE(inbox_.empty());
  EXPECT_TRUE(Take().empty());
}

TEST_F(HandoverTest, WhatIsInProgressStaysUntilItEnds) {
  ASSERT_TRUE(inbox_.Add(Write(7, {Delivery("a")})));
  states_[7] = TransactionState::kInProgress;
  EXPECT_TRUE(Take().empty());
  EXPECT_FALSE(inbox_.empty());
  states_[7] = TransactionState::kCommitted;
  EXPECT_EQ(Take(), std::vector{Delivery("a")});
}

TEST_F(HandoverTest, WhatWasRolledBackIsForgotten) {
  ASSERT_TRUE(inbox_.Add(Write(7, {Delivery("a")}) + Write(8, {Delivery("b")}) +
                         Write(9, {Delivery("c")})));
  states_ = {{7, TransactionState::kRolledBack},
             {8, TransactionState::kInProgress},
             {9, TransactionState::kCommitted}};
  EXPECT_EQ(Take(), std::vector{Delivery("c")});
  states_[8] = TransactionState::kRolledBack;
  EXPECT_TRUE(Take().empty());
  EXPECT_TRUE(inbox_.empty());
}

TEST_F(HandoverTest, WhatSomebodyElseHasTakenDoesNotComeAgain) {
  ASSERT_TRUE(inbox_.Add(Write(7, {Delivery("a"), Delivery("b")}) + Write(8, {Delivery("c")})));
  inbox_.Forget("a");
  inbox_.Forget("c");
  inbox_.Forget("never heard of");
  states_ = {{7, TransactionState::kCommitted}, {8, TransactionState::kCommitted}};
  EXPECT_EQ(Take(), std::vector{Delivery("b")});
}

TEST_F(HandoverTest, BytesThatEndTooEarlyAreLeftOut) {
  const std::string whole = Write(7, {Delivery("a")});
  const std::string cut = Write(8, {Delivery("b"), Delivery("c")});
  states_ = {{7, TransactionState::kCommitted}, {8, TransactionState::kCommitted}};
  for (size_t size = 0; size < cut.size(); ++size) {
    EXPECT_EQ(inbox_.Add(whole + cut.substr(0, size)), size == 0) << size;
    EXPECT_EQ(Take(), std::vector{Delivery("a")}) << size;
  }
}

}  // namespace
}  // namespace alerting
