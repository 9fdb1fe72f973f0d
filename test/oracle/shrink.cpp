// Makes a script smaller as long as engine and oracle still differ on it. See duel.h.
#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "oracle/duel.h"

namespace alerting::oracle {
namespace {

// Tries every removal that `remove(script, i)` offers for i = size-1 … 0 and keeps those after
// which the two still differ.
template <typename Size, typename Remove>
bool Reduce(Script& script, Size size, Remove remove) {
  bool reduced = false;
  for (size_t i = size(script); i-- > 0;) {
    Script smaller = script;
    if (!remove(smaller, i) || !Duel(smaller)) continue;
    script = std::move(smaller);
    reduced = true;
    i = std::min(i, size(script));
  }
  return reduced;
}

bool RemoveSteps(Script& script, size_t from, size_t count) {
  if (from >= script.steps.size()) return false;
  const auto begin = script.steps.begin() + static_cast<std::ptrdiff_t>(from);
  const auto end = from + count < script.steps.size() ? begin + static_cast<std::ptrdiff_t>(count)
                                                      : script.steps.end();
  script.steps.erase(begin, end);
  return true;
}

bool ShrinkRows(Script& script) {
  bool reduced = false;
  for (size_t at = script.steps.size(); at-- > 0;) {
    auto rows = [at](const Script& of) { return of.steps[at].rows.size(); };
    reduced |= Reduce(script, rows, [at](Script& of, size_t i) {
      auto& list = of.steps[at].rows;
      if (i >= list.size()) return false;
      list.erase(list.begin() + static_cast<std::ptrdiff_t>(i));
      return true;
    });
    auto fields = [at](const Script& of) { return of.steps[at].rows.size() * 6; };
    reduced |= Reduce(script, fields, [at](Script& of, size_t i) {
      Row& row = of.steps[at].rows[i / 6];
      auto clear = [](auto& field) { return field ? (field.reset(), true) : false; };
      switch (i % 6) {
        case 0:
          return clear(row.cpu);
        case 1:
          return clear(row.memory);
        case 2:
          return clear(row.memory_used);
        case 3:
          return clear(row.memory_limit);
        case 4:
          return clear(row.running);
        default:
          return clear(row.restarts);
      }
    });
  }
  return reduced;
}

bool ShrinkRules(Script& script) {
  std::set<std::string> ids;
  for (const Step& step : script.steps) {
    for (const Rule& rule : step.rules) ids.insert(rule.id);
  }
  bool reduced = false;
  for (const std::string& id : ids) {
    Script smaller = script;
    for (Step& step : smaller.steps) {
      std::erase_if(step.rules, [&](const Rule& rule) { return rule.id == id; });
    }
    if (!Duel(smaller)) continue;
    script = std::move(smaller);
    reduced = true;
  }
  return reduced;
}

}  // namespace

Script Shrink(const Script& script) {
  Script best = script;
  for (Step& step : best.steps) step.nothing_new = false;  // true of the whole script only
  const auto difference = Duel(best);
  if (!difference) return script;
  best.steps.resize(difference->step + 1);
  if (best.lazy_saves) {
    Script eager = best;
    eager.lazy_saves = false;
    if (Duel(eager)) best = std::move(eager);
  }
  auto steps = [](const Script& of) { return of.steps.size(); };
  bool reduced = true;
  while (reduced) {
    reduced = ShrinkRules(best);
    for (size_t count = std::max<size_t>(best.steps.size() / 2, 1); count > 0; count /= 2) {
      reduced |=
          Reduce(best, steps, [count](Script& of, size_t i) { return RemoveSteps(of, i, count); });
    }
    reduced |= ShrinkRows(best);
  }
  return best;
}

}  // namespace alerting::oracle
