// Adds samples of one statement to the transaction's buffer, all of them or row by row. Any
// backend.
#ifndef ALERTING_EXT_CAPTURE_SAMPLE_WRITER_H_
#define ALERTING_EXT_CAPTURE_SAMPLE_WRITER_H_

#include "ext/capture/row_writer.h"
#include "ext/capture/transaction_buffer.h"

namespace alerting::ext {

// Opened and closed around the rows. While it is open nothing else may add to the buffer, so no
// user's code may run. Trivial code.
struct SampleWriter {
  SampleSpace space;
  uint64_t skipped;

  void Open() noexcept {
    OpenSampleSpace(&space);
    skipped = 0;
  }
  void MakeRoom() noexcept {
    if (space.HasRoom()) return;
    CloseSampleSpace(space);
    OpenSampleSpace(&space);
  }
  void Add(const Sample& sample) noexcept {
    if (sample.container.size() > kMaxKeyBytes) {
      ++skipped;
      return;
    }
    MakeRoom();
    if (space.next != nullptr) {
      space.next += WriteSample(sample, space.context, space.next);
      return;
    }
    Message message;
    message.sample = sample;
    AddMessage(message);
  }
  // As RowWriter::Write.
  void AddRow(const RowWriter& writer, const ColumnValues& row) {
    MakeRoom();
    if (space.next != nullptr) {
      const size_t size = writer.Write(row, space.context, space.next);
      space.next += size;
      skipped += size == 0 ? 1 : 0;
      return;
    }
    AddMark(writer, row);
  }
  // Of a row that has no room.
  void AddMark(const RowWriter& writer, const ColumnValues& row) {
    char bytes[kMaxSampleBytes];
    Message message;
    SampleContext context;
    if (MessageReader({bytes, writer.Write(row, &context, bytes)}).Next(&message)) {
      AddMessage(message);
    } else {
      ++skipped;
    }
  }
  void Close() noexcept {
    CloseSampleSpace(space);
    if (skipped > 0) CountSkipped(skipped);
  }
};

}  // namespace alerting::ext

#endif  // ALERTING_EXT_CAPTURE_SAMPLE_WRITER_H_
