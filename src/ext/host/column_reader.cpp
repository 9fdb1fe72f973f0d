// Implements ext/host/column_reader.h.
#include "ext/host/column_reader.h"

#include <algorithm>

namespace alerting::ext {

void ColumnReader::Build(const std::vector<int16_t>& columns, TupleDesc descriptor) {
  columns_ = columns;
  last_ = 0;
  steps_.clear();
  for (const int16_t column : columns) last_ = std::max<AttrNumber>(last_, column + 1);
  for (int16_t i = 0; i < last_; ++i) {
    const Form_pg_attribute attribute = TupleDescAttr(descriptor, i);
    if (attribute->attlen <= 0 && attribute->attlen != -1) {
      steps_.clear();
      return;
    }
    const auto found = std::find(columns.begin(), columns.end(), i);
    const auto place = found == columns.end() ? -1 : found - columns.begin();
    steps_.push_back({attribute->attlen,
                      static_cast<uint8_t>(att_align_nominal(1, attribute->attalign) - 1),
                      static_cast<int8_t>(place)});
  }
}

void ColumnReader::ReadSlot(TupleTableSlot* slot, ColumnValues* out) const {
  slot_getsomeattrs(slot, last_);
  for (size_t i = 0; i < columns_.size(); ++i) {
    const int column = columns_[i];
    const Form_pg_attribute attribute = TupleDescAttr(slot->tts_tupleDescriptor, column);
    const Datum value = slot->tts_values[column];
    if (slot->tts_isnull[column]) {
      out->values[i] = nullptr;
    } else if (attribute->attbyval) {
      store_att_byval(&out->room[i], value, attribute->attlen);
      out->values[i] = reinterpret_cast<const char*>(&out->room[i]);
    } else {
      out->values[i] = DatumGetPointer(value);
    }
  }
}

}  // namespace alerting::ext
