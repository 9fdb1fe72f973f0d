#include "core/chunk_order.h"

#include <gtest/gtest.h>

#include <deque>
#include <string>
#include <vector>

#include "core/message.h"

namespace alerting {
namespace {

class ChunkOrderTest : public testing::Test {
 protected:
  // A chunk's messages: rows of containers, "a5" of a at 5, or "-" for a change of the rules.
  static std::string Messages(const std::vector<std::string>& rows) {
    std::string bytes;
    SampleContext context;
    for (const std::string& row : rows) {
      Message message;
      message.kind = row == "-" ? MessageKind::kRulesChanged : MessageKind::kSample;
      message.sample.container = std::string_view(row).substr(0, 1);
      if (row != "-") message.sample.at = std::stoi(row.substr(1));
      std::string buffer(MessageSize(message), '\0');
      bytes.append(buffer, 0, WriteMessage(message, &context, buffer.data()));
    }
    return bytes;
  }

  void Add(const std::vector<std::string>& rows, Micros committed_at) {
    given_.push_back(Messages(rows));
    order_.Add({.bytes = static_cast<uint32_t>(given_.back().size()), .committed_at = committed_at},
               given_.back());
  }
  void AddPrepared(const std::vector<std::string>& rows, Micros prepared_at = 1) {
    given_.push_back(Messages(rows));
    order_.AddPrepared(prepared_at, given_.back());
  }

  // Each chunk: its rows and when it was committed.
  std::string Taken() {
    const std::string chunks = order_.Take();
    std::string_view rest = chunks;
    std::string text;
    ChunkHeader header;
    std::string_view messages;
    while (NextChunk(&rest, &header, &messages)) {
      EXPECT_EQ(header.prepared_xid, 0U);
      text += text.empty() ? "" : ", ";
      MessageReader reader(messages);
      Message message;
      while (reader.Next(&message)) {
        text += message.kind == MessageKind::kSample
                    ? std::string(message.sample.container) + std::to_string(message.sample.at)
                    : "-";
      }
      text += "@" + std::to_string(header.committed_at);
    }
    EXPECT_EQ(rest, "");
    return text;
  }

  std::deque<std::string> given_;
  ChunkOrder order_{10, [](std::string_view key) { return key == "A" ? "a" : key; }};
};

TEST_F(ChunkOrderTest, Nothing) { EXPECT_EQ(Taken(), ""); }

TEST_F(ChunkOrderTest, AloneItArrivesNow) {
  AddPrepared({"a1"});
  EXPECT_EQ(Taken(), "a1@10");
}

TEST_F(ChunkOrderTest, OlderRowsComeBeforeIt) {
  AddPrepared({"a2", "b2"});
  Add({"a1"}, 11);
  Add({"b1", "c9"}, 12);
  EXPECT_EQ(Taken(), "a1@11, b1c9@12, a2b2@12");
}

TEST_F(ChunkOrderTest, LaterRowsAndCorrectionsComeAfterIt) {
  AddPrepared({"a5", "a3"});
  AddPrepared({"b3"});
  Add({"a2"}, 11);
  Add({"A3"}, 12);
  Add({"b2"}, 13);
  Add({"b4"}, 14);
  EXPECT_EQ(Taken(), "a2@11, a5a3@12, A3@12, b2@13, b3@14, b4@14");
}

TEST_F(ChunkOrderTest, ItNeverComesBeforeItsPlaceInTheQueue) {
  Add({"a3"}, 11);
  AddPrepared({"a2"});
  Add({"a1"}, 12);
  EXPECT_EQ(Taken(), "a3@11, a1@12, a2@12");
}

TEST_F(ChunkOrderTest, ItDoesNotArriveBeforeItWasPrepared) {
  Add({"a3"}, 11);
  AddPrepared({"a4"}, 15);
  EXPECT_EQ(Taken(), "a3@11, a4@15");
}

TEST_F(ChunkOrderTest, PreparedOnesKeepTheirOrder) {
  AddPrepared({"b5"});
  AddPrepared({"a2"});
  AddPrepared({"b4"});
  Add({"a3"}, 11);
  Add({"b1"}, 12);
  EXPECT_EQ(Taken(), "b5@11, a2@11, a3@11, b1@12, b4@12");
}

TEST_F(ChunkOrderTest, OtherChangesKeepTheirPlace) {
  AddPrepared({"a5"});
  AddPrepared({"b5", "-"});
  AddPrepared({"a7"});
  Add({"a1"}, 11);
  Add({"-"}, 12);
  Add({"a2"}, 13);
  EXPECT_EQ(Taken(), "a5@10, b5-@10, a1@11, a7@12, -@12, a2@13");
}

}  // namespace
}  // namespace alerting
