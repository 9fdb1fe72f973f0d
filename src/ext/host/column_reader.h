// Reads some of a tuple's columns: what slot_getsomeattrs() does, but for the columns that are
// wanted only, by steps laid out once, and leaving the slot alone. An insert pays for it with
// every row. Any backend.
#ifndef ALERTING_EXT_HOST_COLUMN_READER_H_
#define ALERTING_EXT_HOST_COLUMN_READER_H_

#include <array>
#include <vector>

#include "pg/guard.h"

namespace alerting::ext {

// Where a row's values lie, as they lie in a tuple, by the places that they were wanted for;
// nullptr for NULL. Views into the tuple, or of this struct itself.
struct ColumnValues {
  static constexpr size_t kMost = 8;
  std::array<const char*, kMost> values;
  std::array<Datum, kMost> room;  // of what no tuple holds
};

class ColumnReader {
 public:
  // Lays out the reading of `columns`, counted from 0, at most ColumnValues::kMost: the i-th is
  // read to place i.
  void Build(const std::vector<int16_t>& columns, TupleDesc descriptor);
  const std::vector<int16_t>& columns() const { return columns_; }

  // Raises no error. Trivial code.
  void Read(TupleTableSlot* slot, ColumnValues* out) const {
    const HeapTuple tuple = slot->tts_nvalid < last_ ? TupleOf(slot) : nullptr;
    if (tuple == nullptr || HeapTupleHeaderGetNatts(tuple->t_data) < last_) {
      ReadSlot(slot, out);
    } else if (HeapTupleHasNulls(tuple)) {
      Walk<true>(tuple->t_data, out);
    } else {
      Walk<false>(tuple->t_data, out);
    }
  }

 private:
  // One column of the tuple, wanted or to be passed over.
  struct Step {
    int16_t length;   // -1: a varlena
    uint8_t padding;  // its alignment less one
    int8_t place;     // -1: not wanted
  };

  // The tuple in which the slot holds its row, nullptr when it holds none that is laid out so.
  HeapTuple TupleOf(const TupleTableSlot* slot) const {
    if (steps_.empty()) return nullptr;
    if (slot->tts_ops == &TTSOpsMinimalTuple) {
      return reinterpret_cast<const MinimalTupleTableSlot*>(slot)->tuple;
    }
    if (slot->tts_ops == &TTSOpsBufferHeapTuple || slot->tts_ops == &TTSOpsHeapTuple) {
      return reinterpret_cast<const HeapTupleTableSlot*>(slot)->tuple;
    }
    return nullptr;
  }

  template <bool kHasNulls>
  void Walk(HeapTupleHeader header, ColumnValues* out) const {
    const char* place = reinterpret_cast<const char*>(header) + header->t_hoff;
    int next = 0;
    for (const Step& step : steps_) {
      const int column = next++;
      if (kHasNulls && att_isnull(column, header->t_bits)) {
        if (step.place >= 0) out->values[static_cast<size_t>(step.place)] = nullptr;
        continue;
      }
      // A varlena with a short header is not aligned, and never begins with a zero byte.
      if (step.length > 0 || *place == 0) place = Align(place, step.padding);
      if (step.place >= 0) out->values[static_cast<size_t>(step.place)] = place;
      place += step.length > 0 ? static_cast<size_t>(step.length) : VARSIZE_ANY(place);
    }
  }
  static const char* Align(const char* place, uintptr_t padding) {
    return reinterpret_cast<const char*>((reinterpret_cast<uintptr_t>(place) + padding) & ~padding);
  }

  void ReadSlot(TupleTableSlot* slot, ColumnValues* out) const;

  std::vector<int16_t> columns_;
  AttrNumber last_ = 0;  // the last one wanted, counted from 1
  std::vector<Step>
      steps_;  // up to there; empty: a column is neither of fixed length nor a varlena
};

}  // namespace alerting::ext

#endif  // ALERTING_EXT_HOST_COLUMN_READER_H_
