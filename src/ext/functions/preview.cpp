// SQL function preview(): the alerts that a rule, stored or supposed, would have raised over the
// stored metrics. Any backend; writes nothing.
//
// Invariant: judged by the engine that the evaluator runs, each row as if it had arrived at its own
// time. What history does not record cannot be judged: silence (hence no_data = 'keep') and the
// organizations that a container belonged to before.
#include <cmath>
#include <map>

#include "ext/functions/rule_arguments.h"
#include "ext/host/container_directory.h"
#include "ext/host/history_reader.h"
#include "pg/transaction.h"

extern "C" {
PG_FUNCTION_INFO_V1(alerting_preview_rule);
PGDLLEXPORT Datum alerting_preview_rule(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(alerting_preview);
PGDLLEXPORT Datum alerting_preview(PG_FUNCTION_ARGS);
}

namespace alerting::ext {

namespace {

constexpr int kColumns = 7;
constexpr double kDefaultRestarts = 3;
// With more containers than this in the organization rows are picked here and not by the query,
// whose planning time grows with the list.
constexpr size_t kMaxListedContainers = 10'000;
constexpr size_t kKeysPerLookup = 1000;

struct Range {
  Micros since;
  Micros until;
};

Range TimeArguments(FunctionCallInfo fcinfo, int first) {
  if (PG_ARGISNULL(first)) {
    pg::Throw([] {
      ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("since must not be NULL"),
                      errhint("Use '-infinity' for all that is stored.")));
    });
  }
  const Range range = {PG_GETARG_TIMESTAMPTZ(first), PG_ARGISNULL(first + 1)
                                                         ? GetCurrentTransactionStartTimestamp()
                                                         : PG_GETARG_TIMESTAMPTZ(first + 1)};
  if (range.since >= range.until) {
    pg::Throw([&] {
      const auto text = [](Micros time) {
        return DatumGetCString(DirectFunctionCall1(timestamptz_out, TimestampTzGetDatum(time)));
      };
      ereport(ERROR,
              (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("since must lie before until"),
               errdetail("They are %s and %s.", text(range.since), text(range.until))));
    });
  }
  return range;
}

[[noreturn]] void RefuseArgument(const char* message, const char* hint = nullptr) {
  pg::Throw([&] {
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s", message),
                    hint != nullptr ? errhint("%s", hint) : 0));
  });
}

// A rule from the arguments condition, threshold, duration, which start at number `first`.
Rule RuleArguments(FunctionCallInfo fcinfo, int first) {
  const std::string name = TextArgument(fcinfo, first, "condition");
  const auto condition = ParseCondition(name);
  if (!condition) {
    RefuseArgument(("condition \"" + name + "\" does not exist").c_str(),
                   "There are CPU_USAGE, MEMORY_USAGE, CONTAINER_DOWN and RESTART_LOOP.");
  }
  Rule rule;
  rule.condition = *condition;
  const bool is_usage = *condition == Condition::kCpuUsage || *condition == Condition::kMemoryUsage;
  if (is_usage && PG_ARGISNULL(first + 1)) {
    RefuseArgument(("condition " + name + " needs a threshold").c_str(), "It is a percentage.");
  }
  rule.threshold = PG_ARGISNULL(first + 1) ? kDefaultRestarts : PG_GETARG_FLOAT8(first + 1);
  const std::string threshold = pg::Call([&] { return float8out_internal(rule.threshold); });
  if (!std::isfinite(rule.threshold)) {
    RefuseArgument(("threshold must be a finite number, not " + threshold).c_str());
  }
  const int minutes = PG_ARGISNULL(first + 2) ? 0 : PG_GETARG_INT32(first + 2);
  if (minutes < 0) {
    RefuseArgument(("duration must not be negative: " + std::to_string(minutes)).c_str(),
                   "It counts minutes.");
  }
  if (*condition == Condition::kRestartLoop) {
    if (rule.threshold < 0) {
      RefuseArgument(("threshold must not be negative: " + threshold).c_str(),
                     "It is a number of restarts.");
    }
    if (minutes == 0) {
      RefuseArgument("condition RESTART_LOOP needs a duration",
                     "It is the window, in minutes, in which restarts are counted.");
    }
  }
  rule.duration = minutes * kMinute;
  return rule;
}

// One run over history, into the function's result set.
class Preview {
 public:
  Preview(const Binding& binding, const Rule& rule, const Range& range, ReturnSetInfo* result);
  void Run();

 private:
  struct Alert {
    ContainerRef container;
    Micros started_at;
    Micros fired_at;
    double value;
  };

  void AddContainers();
  void AddContainersOfQuery();
  void AddContainersOneByOne();
  void WarnOfMissingMetric() const;
  void WarnOfUnreadable(const HistoryReader& reader) const;
  void TakeTransitions();
  void PutRow(const Alert& alert, Micros resolved_at, double peak);

  const Binding& binding_;
  const Range range_;
  ReturnSetInfo* const result_;
  const std::string organization_;
  const std::string rule_id_;
  const Condition condition_;
  Engine engine_;
  std::vector<Source> sources_;
  std::map<uint64_t, Alert> firing_;  // by the engine's number
};

Preview::Preview(const Binding& binding, const Rule& rule, const Range& range,
                 ReturnSetInfo* result)
    : binding_(binding),
      range_(range),
      result_(result),
      organization_(rule.organization),
      rule_id_(rule.id),
      condition_(rule.condition),
      engine_(kNoTime) {
  Rule judged = rule;
  judged.enabled = true;
  judged.no_data = NoData::kKeep;
  engine_.SetRules({judged}, kNoTime);
  for (const Source& source : binding.sources) {
    Source narrowed = OnlyMetricsOf(rule.condition, source);
    if (narrowed.readings() == 0) continue;
    engine_.SetSource(source.mapping.id, source.settings);
    sources_.push_back(std::move(narrowed));
  }
}

// The containers of the organization, as it is now.
void Preview::AddContainers() {
  if (binding_.organization_is_column) return AddContainersOfQuery();
  try {
    pg::Subtransaction savepoint;
    AddContainersOfQuery();
    savepoint.Release();
    return;
  } catch (const pg::Error& error) {
    if (!IsOfOneRow(error)) throw;
  }
  AddContainersOneByOne();
}

// Where the organization's expression fails on some, which are left out.
void Preview::AddContainersOneByOne() {
  ContainerDirectory directory(binding_);
  const std::vector<std::string> keys = directory.Keys(INT64_MAX);
  for (size_t start = 0; start < keys.size(); start += kKeysPerLookup) {
    const size_t end = std::min(keys.size(), start + kKeysPerLookup);
    for (const auto& [key, info] : directory.Find({keys.begin() + static_cast<ptrdiff_t>(start),
                                                   keys.begin() + static_cast<ptrdiff_t>(end)})) {
      if (info.organization == organization_) (void)engine_.Add(info.key, organization_);
    }
  }
}

void Preview::AddContainersOfQuery() {
  const pg::UserScope user(binding_.containers_owner(), true);
  const pg::MappingSettings settings("UTC");
  const std::string sql =
      "SELECT c." + binding_.container_key + "::" + KeyTypeName(binding_.key_kind) + " FROM " +
      binding_.containers_rows + " c WHERE " +
      (binding_.organization_type.varies
           ? binding_.organization_type.Equal(
                 binding_.organization_type.Cast(binding_.organization), "$1::pg_catalog.text")
           : "(" + binding_.organization + ")::pg_catalog.text = $1");
  const pg::Rows rows = pg::Execute(sql, pg::Params().Text(organization_));
  for (uint64_t row = 0; row < rows.size(); ++row) {
    bool is_null = false;
    const Datum value = rows.Value(row, 0, &is_null);
    KeyBytes key;
    const std::string_view view =
        pg::Call([&] { return KeyFromDatum(binding_.key_kind, value, &key); });
    (void)engine_.Add(view, organization_);
  }
}

// What PostgreSQL says is about a query that nobody has written.
[[noreturn]] void ThrowBroken(const Source& source, const pg::Error& error) {
  const std::string problem = error.what();
  const int state = error.sqlstate();
  pg::Throw([&] {
    ereport(ERROR, (errcode(state),
                    errmsg("table %s cannot be read as it is attached: %s", source.label.c_str(),
                           problem.c_str()),
                    errhint("Attach it again with alerting.attach_metrics(); alerting.doctor() "
                            "says how.")));
  });
}

void Preview::Run() {
  if (sources_.empty()) return WarnOfMissingMetric();
  try {
    AddContainers();
  } catch (const pg::Error& error) {
    ThrowUnfit(binding_, binding_.containers, error);
  }
  if (engine_.container_count() == 0) return;
  ReadRange range;
  range.after = range_.since == kNoTime ? kNoTime : range_.since - 1;
  range.until = range_.until;
  if (engine_.container_count() <= kMaxListedContainers) {
    range.only_containers = true;
    for (ContainerRef ref = 0; ref < engine_.ref_limit(); ++ref) {
      range.containers.emplace_back(engine_.Key(ref));
    }
  }
  std::vector<HistoryInput> inputs;
  for (const Source& source : sources_) inputs.push_back({&source, range});
  ContainerDirectory directory(binding_);
  const auto respell = [&](const std::vector<std::string_view>& keys) {
    for (const auto& [key, info] : directory.Find({keys.begin(), keys.end()})) {
      if (info.key != key) engine_.AddSpelling(key, info.key);
    }
  };
  HistoryReader reader(std::move(inputs), engine_,
                       binding_.container_type.varies ? Adopt(respell) : Adopt());
  std::vector<Sample> samples;
  std::vector<ContainerRef> containers;
  try {
    while (reader.Next(&samples, &containers)) {
      engine_.Judge(samples, containers, kNoTime);
      TakeTransitions();
    }
  } catch (const pg::Error& error) {
    for (const SourceHistory& history : reader.sources()) {
      if (history.is_broken()) ThrowBroken(history.source(), error);
    }
    throw;
  }
  engine_.Advance(std::min<Micros>(range_.until, GetCurrentTimestamp()));
  TakeTransitions();
  for (const auto& [number, alert] : firing_) {
    PutRow(alert, kNoTime, engine_.Explain(alert.container, rule_id_, range_.until).peak);
  }
  WarnOfUnreadable(reader);
}

void Preview::TakeTransitions() {
  for (const Transition& transition : engine_.TakeTransitions()) {
    if (transition.kind == Transition::Kind::kFire) {
      firing_[transition.alert] = {transition.container, transition.started_at, transition.fired_at,
                                   transition.value};
      continue;
    }
    const auto alert = firing_.find(transition.alert);
    if (alert == firing_.end()) continue;
    PutRow(alert->second, transition.resolved_at, transition.peak);
    firing_.erase(alert);
  }
}

void Preview::PutRow(const Alert& alert, Micros resolved_at, double peak) {
  const std::string key = KeyText(binding_.key_kind, engine_.Key(alert.container));
  const bool is_firing = resolved_at == kNoTime;
  pg::Call([&] {
    text* key_text = cstring_to_text_with_len(key.data(), static_cast<int>(key.size()));
    text* status = cstring_to_text(is_firing ? "FIRING" : "RESOLVED");
    Datum values[kColumns] = {PointerGetDatum(key_text),
                              PointerGetDatum(status),
                              TimestampTzGetDatum(alert.started_at),
                              TimestampTzGetDatum(alert.fired_at),
                              TimestampTzGetDatum(resolved_at),
                              Float8GetDatum(alert.value),
                              Float8GetDatum(peak)};
    bool nulls[kColumns] = {
        false, false, false, false, is_firing, std::isnan(alert.value), std::isnan(peak)};
    tuplestore_putvalues(result_->setResult, result_->setDesc, values, nulls);
    pfree(key_text);
    pfree(status);
  });
}

void Preview::WarnOfMissingMetric() const {
  pg::Call([&] {
    ereport(NOTICE,
            (errmsg("no attached metrics table carries %s", MetricName(condition_)),
             condition_ == Condition::kContainerDown
                 ? errdetail("Without it CONTAINER_DOWN judges silence, which is measured on "
                             "arrival and so cannot be previewed.")
                 : errdetail("Nothing can be previewed.")));
  });
}

void Preview::WarnOfUnreadable(const HistoryReader& reader) const {
  for (const SourceHistory& source : reader.sources()) {
    if (source.failed() == 0) continue;
    const auto count = static_cast<unsigned long long>(source.failed());
    pg::Call([&] {
      ereport(WARNING,
              (errmsg("%llu rows of table %s are left out", count, source.source().label.c_str()),
               errdetail("Their mapping fails: %s.", source.problem().c_str())));
    });
  }
}

Datum RunPreview(FunctionCallInfo fcinfo, const Binding& binding, const Rule& rule,
                 const Range& range) {
  auto* result = reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo);
  pg::Call([&] { InitMaterializedSRF(fcinfo, 0); });
  Preview(binding, rule, range, result).Run();
  return Datum{0};
}

Datum PreviewStored(FunctionCallInfo fcinfo) {
  const pg::SpiConnection connection;
  const std::string id = TextArgument(fcinfo, 0, "rule_id");
  const Range range = TimeArguments(fcinfo, 1);
  const Binding binding = RequireFittingBinding();
  return RunPreview(fcinfo, binding, RequireRule(binding, id), range);
}

Datum PreviewSupposed(FunctionCallInfo fcinfo) {
  const pg::SpiConnection connection;
  const std::string organization = TextArgument(fcinfo, 0, "organization");
  Rule rule = RuleArguments(fcinfo, 1);
  const Range range = TimeArguments(fcinfo, 4);
  const Binding binding = RequireFittingBinding();
  rule.id = "preview";
  rule.organization = RequireOrganization(binding, organization);
  return RunPreview(fcinfo, binding, rule, range);
}

}  // namespace

}  // namespace alerting::ext

Datum alerting_preview_rule(PG_FUNCTION_ARGS) {
  return alerting::pg::Entry([&] { return alerting::ext::PreviewStored(fcinfo); });
}
Datum alerting_preview(PG_FUNCTION_ARGS) {
  return alerting::pg::Entry([&] { return alerting::ext::PreviewSupposed(fcinfo); });
}
