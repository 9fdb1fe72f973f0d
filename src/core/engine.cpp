// The engine's public face: checks what comes in and passes it on. Runs in the evaluator.
#include "core/engine.h"

#include <algorithm>
#include <utility>

#include "core/engine_state.h"

namespace alerting {

namespace {

// Whoever writes the same key in ever new ways only makes the others be looked up again.
constexpr size_t kMostSpellings = 1'000'000;

}  // namespace

// Two cheap sources of a seed that nobody outside knows: the start's microseconds and where the
// loader put us.
Engine::State::State(Micros start, Micros since)
    : started(start),
      watched_since(since),
      index(static_cast<uint64_t>(start) ^ reinterpret_cast<uintptr_t>(this)),
      sources(1),
      source_ids(1, 0) {}

Engine::Engine(Micros started, Micros watched_since)
    : state_(std::make_unique<State>(started, watched_since)) {}
Engine::~Engine() = default;

Micros Engine::watched_since() const { return state_->watched_since; }

void Engine::SetSource(uint32_t source, const SourceSettings& settings) {
  state_->SetSource(source, settings);
}

void Engine::SetOtherSources(const SourceSettings& settings) { state_->sources[0] = settings; }

void Engine::SetRules(std::vector<Rule> rules, Micros now) {
  state_->SetRules(std::move(rules), now);
}

ContainerRef Engine::Find(std::string_view key) const {
  const ContainerRef found = state_->index.Find(key);
  return found == kNoContainer ? state_->FindSpelling(key) : found;
}

void Engine::AddSpelling(std::string_view other, std::string_view key) {
  if (state_->spellings.size() >= kMostSpellings) state_->spellings.clear();
  state_->spellings.insert_or_assign(std::string(other), std::string(key));
}

void Engine::FindAll(std::span<const Sample> samples, std::span<ContainerRef> refs) const {
  const ContainerIndex& index = state_->index;
  constexpr size_t kGroup = 16;
  uint64_t hashes[kGroup];
  uint32_t candidates[kGroup];
  const size_t count = std::min(samples.size(), refs.size());
  for (size_t first = 0; first < count; first += kGroup) {
    const size_t group = std::min(kGroup, count - first);
    for (size_t i = 0; i < group; ++i) {
      hashes[i] = index.Hash(samples[first + i].container);
      index.PrefetchSlot(hashes[i]);
    }
    for (size_t i = 0; i < group; ++i) {
      candidates[i] = index.Candidate(hashes[i]);
      if (candidates[i] != kNil) index.PrefetchStored(candidates[i]);
    }
    for (size_t i = 0; i < group; ++i) {
      if (candidates[i] != kNil) index.PrefetchKey(candidates[i]);
    }
    for (size_t i = 0; i < group; ++i) {
      refs[first + i] =
          candidates[i] == kNil ? kNil : index.FindHashed(samples[first + i].container, hashes[i]);
    }
  }
  if (state_->spellings.empty()) return;
  for (size_t i = 0; i < count; ++i) {
    if (refs[i] == kNoContainer) refs[i] = state_->FindSpelling(samples[i].container);
  }
}

ContainerRef Engine::Add(std::string_view key, std::string_view organization) {
  const ContainerRef known = Find(key);
  if (known != kNoContainer) return known;
  const uint32_t number = state_->index.Insert(key);
  if (number == state_->containers.size()) {
    state_->containers.Append();
    state_->stamps.Append();
  }
  state_->containers[number].organization = state_->rules.UseOrganization(organization);
  return number;
}

void Engine::SetOrganization(ContainerRef container, std::string_view organization, Micros now) {
  if (state_->index.IsLive(container)) state_->SetOrganization(container, organization, now);
}

void Engine::Remove(ContainerRef container) {
  if (state_->index.IsLive(container)) state_->Remove(container);
}

size_t Engine::container_count() const { return state_->index.count(); }
ContainerRef Engine::ref_limit() const { return state_->index.limit(); }
bool Engine::Has(ContainerRef container) const { return state_->index.IsLive(container); }
std::string_view Engine::Key(ContainerRef container) const { return state_->index.Key(container); }

std::string_view Engine::Organization(ContainerRef container) const {
  if (!state_->index.IsLive(container)) return {};
  return state_->rules.organization(state_->containers[container].organization).key;
}

void Engine::Judge(std::span<const Sample> samples, std::span<const ContainerRef> containers,
                   Micros arrival) {
  state_->Judge(samples, containers, arrival);
}

void Engine::Advance(Micros now) { state_->Advance(now); }
Micros Engine::NextDeadline() const {
  return std::max(state_->queue.nearest_wall(), state_->started);
}

std::vector<Transition> Engine::TakeTransitions() { return std::exchange(state_->transitions, {}); }

const EngineCounters& Engine::counters() const { return state_->counters; }

std::vector<ContainerRef> Engine::TakeChanged() {
  std::vector<ContainerRef> taken = std::exchange(state_->changed, {});
  // Removed containers are still listed, perhaps twice when their number was used again.
  std::erase_if(taken, [this](ContainerRef container) {
    const bool was_changed = state_->containers[container].changed;
    state_->containers[container].changed = false;
    return !was_changed;
  });
  return taken;
}

std::string Engine::Save(ContainerRef container) const {
  if (!state_->index.IsLive(container)) return {};
  return EncodeContainer(state_->Snapshot(state_->containers[container]));
}

bool Engine::Restore(ContainerRef container, std::string_view saved) {
  SavedContainer decoded;
  if (!state_->index.IsLive(container) || !DecodeContainer(saved, &decoded)) return false;
  Container& taken = state_->containers[container];
  const bool is_fresh = taken.has == 0 && taken.states == kNil && taken.memory == kNil;
  if (is_fresh) state_->Take(container, taken, decoded);
  return is_fresh;
}

uint64_t Engine::RestoreAlert(ContainerRef container, std::string_view rule_id, Micros started_at,
                              Micros fired_at, double value) {
  if (!state_->index.IsLive(container)) return 0;
  return state_->RestoreAlert(container, rule_id, started_at, fired_at, value);
}

void Engine::FinishRestore() { state_->FinishRestore(); }

}  // namespace alerting
