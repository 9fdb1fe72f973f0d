// Implements pg/spi.h.
#include "pg/spi.h"

#include "core/time.h"
#include "pg/jsonb_text.h"
#include "pg/transaction.h"

namespace alerting::pg {

namespace {

Datum MakeText(std::string_view value) {
  return Call([&] {
    return PointerGetDatum(cstring_to_text_with_len(value.data(), static_cast<int>(value.size())));
  });
}

Datum MakeBytes(std::string_view value) { return MakeText(value); }  // text and bytea share a form

constexpr size_t kLongestShortList = 32;

// Where a text or bytea lies; nullptr: NULL. PostgreSQL code.
struct View {
  const char* data = nullptr;
  size_t size = 0;
};
View ViewBytes(const SPITupleTable* table, uint64_t row, int column) {
  bool is_null = false;
  const Datum value = SPI_getbinval(table->vals[row], table->tupdesc, column + 1, &is_null);
  if (is_null) return {};
  const varlena* bytes = PG_DETOAST_DATUM_PACKED(value);
  return {VARDATA_ANY(bytes), static_cast<size_t>(VARSIZE_ANY_EXHDR(bytes))};
}

// A plan that is kept may have been made while the tables were small or empty, and goes on while
// they grow: in the workers it goes by index scans and nested loops. (Sessions of users keep their
// settings unless `in_sessions`.) What is disabled makes a plan dear, and a dear one would be
// compiled. The variables are set by themselves: as settings they would cost as much as a
// statement.
class IndexPlans {
 public:
  explicit IndexPlans(bool in_sessions = false) {
    for (size_t i = 0; i < std::size(kSettings); ++i) {
      saved_[i] = *kSettings[i];
      if (in_sessions || MyBackendType == B_BG_WORKER) *kSettings[i] = false;
    }
  }
  ~IndexPlans() {
    for (size_t i = 0; i < std::size(kSettings); ++i) *kSettings[i] = saved_[i];
  }
  IndexPlans(const IndexPlans&) = delete;
  IndexPlans& operator=(const IndexPlans&) = delete;

 private:
  static constexpr bool* kSettings[] = {&enable_seqscan, &enable_bitmapscan, &enable_hashjoin,
                                        &enable_mergejoin, &jit_enabled};
  bool saved_[std::size(kSettings)];
};

}  // namespace

Params& Params::Add(Datum value, Oid type, bool is_null) {
  types_.push_back(type);
  values_.push_back(value);
  nulls_.push_back(is_null ? 'n' : ' ');
  return *this;
}

Params& Params::Text(std::string_view value) { return Add(MakeText(value), TEXTOID, false); }

Params& Params::Int(int32_t value) { return Add(Int32GetDatum(value), INT4OID, false); }
Params& Params::BigInt(int64_t value) { return Add(Int64GetDatum(value), INT8OID, false); }
Params& Params::Bool(bool value) { return Add(BoolGetDatum(value), BOOLOID, false); }

Params& Params::Timestamp(int64_t value) {
  if (value == kNoTime) return Null(TIMESTAMPTZOID);
  return Add(TimestampTzGetDatum(value), TIMESTAMPTZOID, false);
}

Params& Params::Bytes(std::string_view value) { return Add(MakeBytes(value), BYTEAOID, false); }
Params& Params::OidValue(Oid value) { return Add(ObjectIdGetDatum(value), OIDOID, false); }
Params& Params::Value(Datum value, Oid type) { return Add(value, type, false); }
Params& Params::Null(Oid type) { return Add(Datum{0}, type, true); }

Params& Params::AddArray(std::vector<Datum>& elements, const std::vector<char>& nulls,
                         Oid element_type, Oid array_type) {
  const Datum array = Call([&] {
    int16 length;
    bool by_value;
    char align;
    get_typlenbyvalalign(element_type, &length, &by_value, &align);
    int dims[1] = {static_cast<int>(elements.size())};
    int lower_bounds[1] = {1};
    bool* null_flags = static_cast<bool*>(palloc0(sizeof(bool) * (elements.size() + 1)));
    for (size_t i = 0; i < nulls.size(); ++i) null_flags[i] = nulls[i] != 0;
    return PointerGetDatum(construct_md_array(elements.data(), null_flags, 1, dims, lower_bounds,
                                              element_type, length, by_value, align));
  });
  return Add(array, array_type, false);
}

Params& Params::TextArray(const std::vector<std::string>& values) {
  std::vector<Datum> elements;
  elements.reserve(values.size());
  for (const std::string& value : values) elements.push_back(MakeText(value));
  return AddArray(elements, {}, TEXTOID, TEXTARRAYOID);
}

Params& Params::TextArray(const std::vector<std::optional<std::string>>& values) {
  std::vector<Datum> elements;
  std::vector<char> nulls;
  elements.reserve(values.size());
  for (const auto& value : values) {
    elements.push_back(value ? MakeText(*value) : Datum{0});
    nulls.push_back(value ? 0 : 1);
  }
  return AddArray(elements, nulls, TEXTOID, TEXTARRAYOID);
}

Params& Params::IntArray(const std::vector<int32_t>& values) {
  std::vector<Datum> elements;
  elements.reserve(values.size());
  for (int32_t value : values) elements.push_back(Int32GetDatum(value));
  return AddArray(elements, {}, INT4OID, INT4ARRAYOID);
}

Params& Params::BigIntArray(const std::vector<int64_t>& values) {
  std::vector<Datum> elements;
  elements.reserve(values.size());
  for (int64_t value : values) elements.push_back(Int64GetDatum(value));
  return AddArray(elements, {}, INT8OID, INT8ARRAYOID);
}

Params& Params::FloatArray(const std::vector<double>& values) {
  std::vector<Datum> elements;
  elements.reserve(values.size());
  for (double value : values) elements.push_back(Float8GetDatum(value));
  return AddArray(elements, {}, FLOAT8OID, FLOAT8ARRAYOID);
}

Params& Params::RealArray(const std::vector<std::optional<float>>& values) {
  std::vector<Datum> elements;
  std::vector<char> nulls;
  elements.reserve(values.size());
  for (const std::optional<float>& value : values) {
    elements.push_back(Float4GetDatum(value.value_or(0)));
    nulls.push_back(value.has_value() ? 0 : 1);
  }
  return AddArray(elements, nulls, FLOAT4OID, FLOAT4ARRAYOID);
}

Params& Params::TimestampArray(const std::vector<int64_t>& values) {
  std::vector<Datum> elements;
  std::vector<char> nulls;
  elements.reserve(values.size());
  for (int64_t value : values) {
    elements.push_back(TimestampTzGetDatum(value));
    nulls.push_back(value == kNoTime ? 1 : 0);
  }
  return AddArray(elements, nulls, TIMESTAMPTZOID, TIMESTAMPTZARRAYOID);
}

Params& Params::BytesArray(const std::vector<std::string>& values) {
  std::vector<Datum> elements;
  elements.reserve(values.size());
  for (const std::string& value : values) elements.push_back(MakeBytes(value));
  return AddArray(elements, {}, BYTEAOID, BYTEAARRAYOID);
}

Params& Params::JsonbArray(std::vector<Datum> values) {
  return AddArray(values, {}, JSONBOID, JSONBARRAYOID);
}

Datum Rows::Value(uint64_t row, int column, bool* is_null) const {
  return Call(
      [&] { return SPI_getbinval(table_->vals[row], table_->tupdesc, column + 1, is_null); });
}

Datum Rows::ValueOf(Oid type, uint64_t row, int column, bool* is_null) const {
  return Call([&] {
    const Oid given = SPI_gettypeid(table_->tupdesc, column + 1);
    if (given != type && getBaseType(given) != type) {
      ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
                      errmsg("column \"%s\" has type %s, but should have type %s",
                             SPI_fname(table_->tupdesc, column + 1), format_type_be(given),
                             format_type_be(type))));
    }
    return SPI_getbinval(table_->vals[row], table_->tupdesc, column + 1, is_null);
  });
}

bool Rows::IsNull(uint64_t row, int column) const {
  bool is_null = false;
  (void)Value(row, column, &is_null);
  return is_null;
}

std::optional<std::string> Rows::OptionalText(uint64_t row, int column) const {
  const View view = Call([&] {
    const Oid type = SPI_gettypeid(table_->tupdesc, column + 1);
    if (type == TEXTOID) return ViewBytes(table_, row, column);
    if (type == JSONBOID) {
      bool is_null = false;
      const Datum value = SPI_getbinval(table_->vals[row], table_->tupdesc, column + 1, &is_null);
      if (is_null) return View();
      const StringInfoData text = JsonbText(value);
      return View{text.data, static_cast<size_t>(text.len)};
    }
    // SPI_getvalue calls the type's output function; the string lives in the SPI context.
    const char* text = SPI_getvalue(table_->vals[row], table_->tupdesc, column + 1);
    return View{text, text == nullptr ? 0 : strlen(text)};
  });
  if (view.data == nullptr) return std::nullopt;
  return std::string(view.data, view.size);
}

std::string Rows::Text(uint64_t row, int column) const {
  return OptionalText(row, column).value_or(std::string());
}

std::string Rows::Bytes(uint64_t row, int column) const {
  const View view = Call([&] { return ViewBytes(table_, row, column); });
  return std::string(view.data == nullptr ? "" : view.data, view.size);
}

int32_t Rows::Int(uint64_t row, int column) const {
  bool is_null = false;
  const Datum value = ValueOf(INT4OID, row, column, &is_null);
  return is_null ? 0 : DatumGetInt32(value);
}

int64_t Rows::BigInt(uint64_t row, int column) const {
  bool is_null = false;
  const Datum value = ValueOf(INT8OID, row, column, &is_null);
  return is_null ? 0 : DatumGetInt64(value);
}

double Rows::Float(uint64_t row, int column) const {
  bool is_null = false;
  const Datum value = ValueOf(FLOAT8OID, row, column, &is_null);
  return is_null ? 0 : DatumGetFloat8(value);
}

bool Rows::Bool(uint64_t row, int column) const {
  bool is_null = false;
  const Datum value = ValueOf(BOOLOID, row, column, &is_null);
  return !is_null && DatumGetBool(value);
}

int64_t Rows::Timestamp(uint64_t row, int column) const {
  bool is_null = false;
  const Datum value = ValueOf(TIMESTAMPTZOID, row, column, &is_null);
  return is_null ? kNoTime : DatumGetTimestampTz(value);
}

Oid Rows::OidValue(uint64_t row, int column) const {
  bool is_null = false;
  const Datum value = ValueOf(OIDOID, row, column, &is_null);
  return is_null ? InvalidOid : DatumGetObjectId(value);
}

RowPlace Rows::Place(uint64_t row, int column) const {
  bool is_null = false;
  const Datum value = ValueOf(TIDOID, row, column, &is_null);
  RowPlace place;
  ItemPointerSetInvalid(&place);
  if (!is_null) ItemPointerCopy(reinterpret_cast<ItemPointer>(DatumGetPointer(value)), &place);
  return place;
}

std::vector<std::string> Rows::FirstColumn() const {
  std::vector<std::string> values;
  values.reserve(size());
  for (uint64_t row = 0; row < size(); ++row) values.push_back(Text(row, 0));
  return values;
}

static void RunOnce(const std::string& sql, const Params& params, bool read_only) {
  const SettingsScope settings;
  Call([&] {
    const int result = SPI_execute_with_args(sql.c_str(), static_cast<int>(params.types().size()),
                                             const_cast<Oid*>(params.types().data()),
                                             const_cast<Datum*>(params.values().data()),
                                             params.nulls().data(), read_only, 0);
    if (result < 0) elog(ERROR, "SPI failed: %s", SPI_result_code_string(result));
  });
}

Rows Execute(const std::string& sql, const Params& params) {
  RunOnce(sql, params, false);
  Rows rows;
  rows.table_ = SPI_tuptable;
  rows.count_ = SPI_processed;
  return rows;
}

Rows ReadOnly(const std::string& sql, const Params& params) {
  RunOnce(sql, params, true);
  Rows rows;
  rows.table_ = SPI_tuptable;
  rows.count_ = SPI_processed;
  return rows;
}

SPIPlanPtr Statement::Prepare(const std::vector<Oid>& types, int options) const {
  return Call([&] {
    SPIPlanPtr plan = SPI_prepare_cursor(sql_.c_str(), static_cast<int>(types.size()),
                                         const_cast<Oid*>(types.data()), options);
    if (plan == nullptr) {
      elog(ERROR, "SPI_prepare_cursor failed: %s", SPI_result_code_string(SPI_result));
    }
    SPI_keepplan(plan);
    return plan;
  });
}

Rows Statement::Execute(SPIPlanPtr plan, const Params& params, bool read_only) {
  Rows rows;
  Call([&] {
    const int result = SPI_execute_plan(plan, const_cast<Datum*>(params.values().data()),
                                        params.nulls().data(), read_only, 0);
    if (result < 0) elog(ERROR, "SPI failed: %s", SPI_result_code_string(result));
  });
  rows.table_ = SPI_tuptable;
  rows.count_ = SPI_processed;
  return rows;
}

SPIPlanPtr Statement::Plan(const std::vector<Oid>& types) {
  if (plan_ == nullptr) plan_ = Prepare(types, CURSOR_OPT_GENERIC_PLAN);
  return plan_;
}

Rows Statement::Run(const Params& params) {
  const SettingsScope settings;
  const IndexPlans plans;
  return Execute(Plan(params.types()), params);
}

// What runs meanwhile may be a user's function, whose plans are not to be bent: the settings are
// in force while this plan is made, or found to be valid still, and no longer.
Rows Statement::RunReadOnly(const Params& params) {
  const SettingsScope settings;
  SPIPlanPtr plan = Plan(params.types());
  {
    const IndexPlans plans(true);
    Call([&] {
      CachedPlan* made = SPI_plan_get_cached_plan(plan);
      if (made != nullptr) ReleaseCachedPlan(made, CurrentResourceOwner);
    });
  }
  return Execute(plan, params, true);
}

Rows Statement::RunLists(size_t size, const Params& params) {
  if (size <= kLongestShortList) return Run(params);
  const SettingsScope settings;
  if (long_plan_ == nullptr) long_plan_ = Prepare(params.types(), CURSOR_OPT_CUSTOM_PLAN);
  return Execute(long_plan_, params);
}

Statement::~Statement() {
  for (SPIPlanPtr plan : {plan_, long_plan_}) {
    if (plan == nullptr) continue;
    try {
      Call([&] { SPI_freeplan(plan); });
    } catch (...) {
      // The plan leaks until the process ends.
    }
  }
}

std::string QuoteIdentifier(std::string_view name) {
  const std::string copy(name);
  const char* quoted = Call([&] { return quote_identifier(copy.c_str()); });
  return std::string(quoted);
}

std::string QualifiedName(Oid relation) {
  const char* name = Call([&]() -> const char* {
    char* relation_name = get_rel_name(relation);
    if (relation_name == nullptr) return nullptr;
    char* schema = get_namespace_name(get_rel_namespace(relation));
    return schema == nullptr ? nullptr : quote_qualified_identifier(schema, relation_name);
  });
  return name == nullptr ? std::string() : std::string(name);
}

}  // namespace alerting::pg
