// SQL function explain(): why a rule does or does not fire on a container now. Any backend.
//
// Works out what the evaluator knows from what it has saved and the rows since, in an engine of
// its own: so it answers also while no evaluator runs, and writes nothing. When those rows arrived
// is not recorded: each counts as if it had at its own time.
#include <algorithm>
#include <cmath>

#include "core/plain_words.h"
#include "core/saved_state.h"
#include "ext/evaluator/state_store.h"
#include "ext/functions/rule_arguments.h"
#include "ext/host/container_directory.h"
#include "ext/host/source_reader.h"
#include "pg/guc.h"
#include "pg/sample_queue.h"
#include "pg/transaction.h"

extern "C" {
PG_FUNCTION_INFO_V1(alerting_explain);
PGDLLEXPORT Datum alerting_explain(PG_FUNCTION_ARGS);
}

namespace alerting::ext {

namespace {

constexpr Micros kFutureLimit = 5 * kMinute;  // rows further ahead are taken at their arrival
constexpr int kColumns = 10;

// The FIRING row of alerting.alert.
struct FiringAlert {
  std::string id;
  Micros started_at = kNoTime;
  Micros fired_at = kNoTime;
  double value = 0;
};

[[noreturn]] void ThrowNoContainer(const Binding& binding, const std::string& key) {
  pg::Throw([&] {
    ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
                    errmsg("container \"%s\" does not exist", key.c_str()),
                    errdetail("Table %s has no such key.", binding.containers.c_str())));
  });
}

// The key that a text means, or an error: the transaction ends in either case of one, so that no
// savepoint is needed.
std::string ParseKey(const Binding& binding, const std::string& text) {
  const KeyKind kind = binding.key_kind;
  if (kind == KeyKind::kText) return text;
  try {
    const pg::Rows rows =
        pg::Execute(std::string("SELECT $1::") + KeyTypeName(kind), pg::Params().Text(text));
    bool is_null = false;
    const Datum value = rows.Value(0, 0, &is_null);
    KeyBytes key;
    return std::string(pg::Call([&] { return KeyFromDatum(kind, value, &key); }));
  } catch (const pg::Error& error) {
    if (ERRCODE_TO_CATEGORY(error.sqlstate()) != ERRCODE_DATA_EXCEPTION) throw;
  }
  ThrowNoContainer(binding, text);
}

std::unordered_map<std::string, ContainerInfo> Find(const Binding& binding,
                                                    const std::string& key) {
  try {
    return ContainerDirectory(binding).Find({key});
  } catch (const pg::Error& error) {
    ThrowUnfit(binding, binding.containers, error);
  }
}

std::optional<FiringAlert> FindAlert(const Binding& binding, const std::string& rule,
                                     const std::string& key) {
  const pg::UserScope user(binding.owner(), false);
  const pg::Rows rows = pg::Execute(
      "SELECT id, started_at, fired_at, coalesce(value, 'NaN') FROM alerting.alert"
      " WHERE status = 'FIRING' AND rule_id = $1 AND container_id " +
          binding.container_type.equals + " ANY (" + binding.container_type.Array("$2") + ")",
      pg::Params().Text(rule).TextArray(std::vector<std::string>{KeyText(binding.key_kind, key)}));
  if (rows.size() == 0) return std::nullopt;
  return FiringAlert{rows.Text(0, 0), rows.Timestamp(0, 1), rows.Timestamp(0, 2), rows.Float(0, 3)};
}

// The evaluator as others see it.
struct EvaluatorView {
  bool runs = false;
  Micros started = kNoTime;
  std::vector<std::string> hints;  // what keeps it from judging or telling
};

EvaluatorView LookAtEvaluator(const Binding& binding, Micros now) {
  EvaluatorView view;
  view.started = now;
  if (RecoveryInProgress()) {
    view.hints.push_back("this server is a standby: nothing is judged here");
    return view;
  }
  if (!pg::guc_enabled)
    view.hints.push_back("setting alerting.enabled is off: samples are not taken");
  if (binding.sources.empty()) view.hints.push_back("no metrics table is attached");
  if (binding.is_copy) {
    view.hints.push_back("this database is a copy: its webhooks are held until alerting.resume()");
  }
  pg::DatabaseSlot* slot = pg::Call([] { return pg::FindSlot(MyDatabaseId); });
  view.runs = slot != nullptr && pg::WorkerRuns(slot, pg::kEvaluator);
  if (!view.runs) {
    const pg::Wish wish = slot != nullptr ? slot->wish : pg::Wish::kNothing;
    view.hints.push_back(
        wish == pg::Wish::kStopped ? "the evaluator is stopped until alerting.start()"
        : wish == pg::Wish::kOutdated
            ? "the evaluator waits for ALTER EXTENSION alerting UPDATE, see alerting.status()"
            : "the evaluator does not run; the next sample or alerting.start() starts it");
    return view;
  }
  view.started = static_cast<Micros>(pg_atomic_read_u64(&slot->evaluator_started));
  pg::MapQueue(slot);
  LWLockAcquire(&slot->lock, LW_SHARED);
  const ByteRing* ring = pg::MappedQueue(slot);
  const bool waits =
      (ring != nullptr && ring->size() > 0) || slot->replay_count > 0 || slot->replay_all;
  LWLockRelease(&slot->lock);
  if (waits) view.hints.push_back("the evaluator has samples waiting that it has not judged yet");
  return view;
}

// The wall-clock time from which an engine restored from `saved` must count to know the time of the
// rule's metric as the evaluator does: the arrival of its last reading, or the evaluator's start.
Micros ClockStart(const Rule& rule, const std::string& saved, Micros started, Micros now) {
  alerting::SavedContainer container;
  if (!saved.empty() && DecodeContainer(saved, &container)) {
    const auto has = [&](int stream) { return (container.has & StreamBit(stream)) != 0; };
    int looked_at = StreamOf(rule.condition);
    if (rule.condition == Condition::kContainerDown && !has(looked_at)) {
      for (int stream = 0; stream < kStreams; ++stream) {
        if (has(stream) &&
            (!has(looked_at) || container.readings[static_cast<size_t>(stream)].at >
                                    container.readings[static_cast<size_t>(looked_at)].at)) {
          looked_at = stream;
        }
      }
    }
    if (has(looked_at)) {
      started = std::max(started, container.readings[static_cast<size_t>(looked_at)].arrival);
    }
  }
  return std::min(started, now);
}

// An engine that knows one rule and one container.
class PrivateEngine {
 public:
  PrivateEngine(const Binding& binding, const Rule& rule, const std::string& key,
                const std::string& organization, Micros clock_start);
  // The evaluator's memory: what it saved, and the alert that is FIRING.
  void Restore(const std::optional<SavedContainer>& saved, const std::optional<FiringAlert>& alert);
  // Rows that are not in what was saved.
  void ReadRows(Micros now);
  // Time of the newest row that is too old to be judged; kNoTime when there is none.
  Micros FindBackfill(Micros now);
  Explanation Explain(Micros now);

 private:
  struct ConcernedSource {
    Source source;     // whole: by all that a row tells it is known to have been judged
    uint8_t readings;  // those that concern the rule
  };

  // The container's own rows, whichever way they write its key.
  std::vector<Sample> ReadOwn(const Source& source, ReadRange range);

  const Binding& binding_;
  const std::string key_;
  const std::string rule_id_;
  Engine engine_;
  ContainerRef container_;
  std::vector<ConcernedSource> sources_;
  RowsRead forgotten_;  // rows that were a former container's
};

PrivateEngine::PrivateEngine(const Binding& binding, const Rule& rule, const std::string& key,
                             const std::string& organization, Micros clock_start)
    : binding_(binding), key_(key), rule_id_(rule.id), engine_(clock_start) {
  binding.SetSources(&engine_);
  for (const Source& source : binding.sources) {
    // Any metric counts for CONTAINER_DOWN where `running` is not reported.
    const uint8_t readings = rule.condition == Condition::kContainerDown
                                 ? source.readings()
                                 : OnlyMetricsOf(rule.condition, source).readings();
    if (readings != 0) sources_.push_back({source, readings});
  }
  engine_.SetRules({rule}, clock_start);
  container_ = engine_.Add(key, organization);
}

void PrivateEngine::Restore(const std::optional<SavedContainer>& saved,
                            const std::optional<FiringAlert>& alert) {
  bool resolved = false;
  if (saved) {
    forgotten_ = saved->forgotten;
    (void)engine_.Restore(container_, saved->state);
    for (const OutgoingTransition& outgoing : saved->outgoing) {
      const Transition& transition = outgoing.transition;
      if (transition.rule_id != rule_id_) continue;
      resolved = transition.kind == Transition::Kind::kResolve;
      if (!resolved) {
        (void)engine_.RestoreAlert(container_, rule_id_, transition.started_at, transition.fired_at,
                                   transition.value);
      }
    }
  }
  if (alert && !resolved) {
    (void)engine_.RestoreAlert(container_, rule_id_, alert->started_at, alert->fired_at,
                               alert->value);
  }
  engine_.FinishRestore();
}

std::vector<Sample> PrivateEngine::ReadOwn(const Source& source, ReadRange range) {
  range.only_containers = true;
  range.containers = {key_};
  std::vector<Sample> own;
  std::unordered_map<std::string, std::vector<Sample>> others;
  (void)ReadSource(source, range, [&](std::span<const Sample> read) {
    for (const Sample& sample : read) {
      const bool is_own = sample.container == key_;
      if (!is_own && !binding_.container_type.varies) continue;
      std::vector<Sample>& samples = is_own ? own : others[std::string(sample.container)];
      samples.push_back(sample);
      samples.back().container = {};
    }
  });
  std::vector<std::string> keys;
  for (const auto& [key, samples] : others) keys.push_back(key);
  for (const auto& [key, info] : ContainerDirectory(binding_).Find(keys)) {
    if (info.key == key_) own.insert(own.end(), others[key].begin(), others[key].end());
  }
  return own;
}

void PrivateEngine::ReadRows(Micros now) {
  std::vector<Sample> samples;
  for (const auto& [source, readings] : sources_) {
    ReadRange range;
    const Micros judged = engine_.JudgedUntil(container_, readings);
    // At the very time of the last reading only a correction would count.
    if (judged != kNoTime) range.after = judged - 1;
    if (source.settings.max_age != kNever) {
      range.after = std::max(range.after, SubtractTime(now, source.settings.max_age));
    }
    for (const auto& [number, read] : forgotten_) {
      const bool has_own = judged != kNoTime;
      if (!has_own && number == source.mapping.id) range.after = std::max(range.after, read);
    }
    std::vector<Sample> own = ReadOwn(source, range);
    engine_.ClearJudged(own, std::vector<ContainerRef>(own.size(), container_));
    for (Sample& sample : own) {
      sample.present = static_cast<uint8_t>(sample.present & readings);
      // As the evaluator does with rows that come with a time too far ahead.
      if (sample.at > AddTime(now, kFutureLimit)) sample.at = now;
    }
    samples.insert(samples.end(), own.begin(), own.end());
  }
  engine_.Judge(samples, std::vector<ContainerRef>(samples.size(), container_), kNoTime);
}

Micros PrivateEngine::FindBackfill(Micros now) {
  Micros newest = kNoTime;
  for (const auto& [source, readings] : sources_) {
    if (source.settings.max_age == kNever) continue;
    ReadRange range;
    range.until = SubtractTime(now, source.settings.max_age);
    for (const Sample& sample : ReadOwn(source, range)) newest = std::max(newest, sample.at);
  }
  return newest;
}

Explanation PrivateEngine::Explain(Micros now) {
  engine_.Advance(now);
  return engine_.Explain(container_, rule_id_, now);
}

// What explain() answers.
struct Answer {
  const char* state = "OK";
  Explanation seen;
  std::string words;
};

const char* StateName(Explanation::State state) {
  switch (state) {
    case Explanation::State::kPending:
      return "PENDING";
    case Explanation::State::kFiring:
      return "FIRING";
    case Explanation::State::kOk:
      break;
  }
  return "OK";
}

Answer NeverRead(const Binding& binding, const Rule& rule, PrivateEngine& engine, Micros now) {
  Answer answer;
  answer.state = "NO_DATA";
  const bool is_mapped = std::any_of(
      binding.sources.begin(), binding.sources.end(),
      [&](const Source& source) { return OnlyMetricsOf(rule.condition, source).readings() != 0; });
  const bool any_metric = rule.condition == Condition::kContainerDown;
  const std::string metric = MetricName(rule.condition);
  if (!is_mapped && !any_metric) {
    answer.words = "no reading yet: no attached metrics table carries " + metric;
    return answer;
  }
  answer.words = any_metric ? "no sample of this container yet"
                            : "no reading yet: no sample of this container carried " + metric;
  const Micros backfill = engine.FindBackfill(now);
  if (backfill != kNoTime) {
    answer.words += "; its newest row is of " + TimeInWords(backfill) +
                    ", older than max_age of its table, and so not judged";
  }
  return answer;
}

Answer Judge(const Binding& binding, const Rule& rule, const std::string& key,
             const std::string& organization, const EvaluatorView& evaluator,
             std::vector<std::string>* hints, Micros now) {
  // The state before the alert: what is written in between confirms it, the other way round the
  // saved form would claim an alert that was not seen.
  const std::optional<SavedContainer> saved = LoadSavedContainer(binding, key);
  const std::optional<FiringAlert> alert = FindAlert(binding, rule.id, key);
  PrivateEngine engine(binding, rule, key, organization,
                       ClockStart(rule, saved ? saved->state : "", evaluator.started, now));
  engine.Restore(saved, alert);
  Answer answer;
  const bool applies = rule.enabled && rule.organization == organization;
  if (applies) {
    engine.ReadRows(now);
    answer.seen = engine.Explain(now);
  }
  const bool fires = answer.seen.state == Explanation::State::kFiring;
  if (fires && !alert) hints->push_back("the evaluator has not written this alert yet");
  if (!fires && alert) {
    hints->push_back("its alert, FIRING since " + TimeInWords(alert->fired_at) +
                     ", has not been resolved by the evaluator yet");
  }
  if (!rule.enabled) {
    answer.state = "DISABLED";
    answer.words = "the rule is disabled";
  } else if (!applies) {
    answer.state = "NOT_APPLICABLE";
    answer.words = organization.empty() ? "the container belongs to no organization, the rule to " +
                                              rule.organization
                                        : "the container belongs to organization " + organization +
                                              ", the rule to " + rule.organization;
  } else if (!answer.seen.has_reading && !fires) {
    answer = NeverRead(binding, rule, engine, now);
  } else if (!answer.seen.has_reading) {
    answer.state = "FIRING";
    answer.words = "FIRING since " + TimeInWords(answer.seen.fired_at) +
                   "; what it was judged on is not known any more, the next sample decides";
  } else {
    answer.state = StateName(answer.seen.state);
    answer.words = ExplainInWords(rule, answer.seen);
    if (SubtractTime(now, answer.seen.virtual_now) > kFutureLimit) {
      hints->push_back("these are the samples' own times, which are behind the wall clock");
    }
  }
  return answer;
}

Datum MakeRow(FunctionCallInfo fcinfo, const Answer& answer) {
  const Explanation& seen = answer.seen;
  return pg::Call([&] {
    TupleDesc descriptor;
    if (get_call_result_type(fcinfo, nullptr, &descriptor) != TYPEFUNC_COMPOSITE) {
      elog(ERROR, "return type must be a row type");
    }
    Datum values[kColumns];
    bool nulls[kColumns] = {};
    int n = 0;
    const auto put_time = [&](Micros time) {
      nulls[n] = time == kNoTime || time == kNever;
      values[n++] = TimestampTzGetDatum(time);
    };
    values[n++] = CStringGetTextDatum(answer.state);
    put_time(seen.since);
    put_time(seen.fired_at);
    put_time(seen.last_at);
    nulls[n] = !seen.has_reading || std::isnan(seen.last_value);
    values[n++] = Float8GetDatum(seen.last_value);
    nulls[n] = !seen.has_reading;
    values[n++] = BoolGetDatum(seen.breaching);
    put_time(seen.fires_at);
    put_time(seen.resolves_at);
    nulls[n] = !seen.has_reading;
    values[n++] = BoolGetDatum(seen.silent);
    values[n++] = CStringGetTextDatum(answer.words.c_str());
    return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls));
  });
}

Datum Explain(FunctionCallInfo fcinfo) {
  const std::string rule_id = TextArgument(fcinfo, 0, "rule_id");
  const std::string container = TextArgument(fcinfo, 1, "container");
  Answer answer;
  {
    const pg::SpiConnection connection;
    const Binding binding = RequireFittingBinding();
    const Rule rule = RequireRule(binding, rule_id);
    const auto found = Find(binding, ParseKey(binding, container));
    if (found.empty()) ThrowNoContainer(binding, container);
    const std::string& key = found.begin()->second.key;
    const Micros now = GetCurrentTimestamp();
    EvaluatorView evaluator = LookAtEvaluator(binding, now);
    std::vector<std::string> hints;
    answer = Judge(binding, rule, key, found.begin()->second.organization.value_or(""), evaluator,
                   &hints, now);
    hints.insert(hints.end(), evaluator.hints.begin(), evaluator.hints.end());
    for (const std::string& hint : hints) answer.words += ". But: " + hint;
  }
  return MakeRow(fcinfo, answer);
}

}  // namespace

}  // namespace alerting::ext

Datum alerting_explain(PG_FUNCTION_ARGS) {
  return alerting::pg::Entry([&] { return alerting::ext::Explain(fcinfo); });
}
