// Implements ext/evaluator/alert_store.h: what resolves.
#include "ext/cuid.h"
#include "ext/evaluator/alert_statements.h"
#include "ext/evaluator/alert_store.h"
#include "pg/transaction.h"

namespace alerting::ext {

std::vector<size_t> AlertStore::LockAlerts(std::span<OutgoingTransition* const> batch,
                                           std::vector<size_t> resolves,
                                           std::vector<WriteResult>* results) {
  std::vector<std::string> ids;
  for (const size_t i : resolves) ids.push_back(batch[i]->alert_id);
  const pg::Params params = pg::Params().TextArray(ids);
  const auto locked = FirstColumn(lock_alerts_.RunLists(ids.size(), params));
  std::unordered_set<std::string> existing;
  if (locked.size() < ids.size()) existing = FirstColumn(find_alerts_.RunLists(ids.size(), params));
  const pg::Rows webhooks = lock_resolved_webhooks_.RunLists(ids.size(), params);
  for (uint64_t row = 0; row < webhooks.size(); ++row) {
    locked_webhooks_.emplace(webhooks.Text(row, 0), webhooks.Text(row, 1));
  }
  const auto blocked =
      Blocked(find_resolved_webhooks_.RunLists(ids.size(), params), locked_webhooks_);
  std::erase_if(resolves, [&](size_t i) {
    const std::string& id = batch[i]->alert_id;
    if (locked.contains(id) && !blocked.contains(id)) return false;
    (*results)[i] = locked.contains(id) || existing.contains(id) ? WriteResult::kLocked
                                                                 : WriteResult::kObsolete;
    return true;
  });
  return resolves;
}

void AlertStore::Resolve(std::span<OutgoingTransition* const> batch,
                         std::span<const size_t> resolves) {
  std::vector<std::string> resolved_ids, reasons;
  std::vector<int64_t> resolved_at;
  for (const size_t i : resolves) {
    resolved_ids.push_back(batch[i]->alert_id);
    resolved_at.push_back(batch[i]->transition.resolved_at);
    reasons.emplace_back(ResolveReasonName(batch[i]->transition.reason));
  }
  const pg::Params params =
      pg::Params().TextArray(resolved_ids).TimestampArray(resolved_at).TextArray(reasons);
  (void)resolve_alerts_.RunLists(resolved_ids.size(), params);
  const pg::Rows rows = render_resolved_.RunLists(resolved_ids.size(), params);
  std::unordered_set<std::string> waiting;  // alert and webhook whose FIRING goes first
  const auto pair = [&](uint64_t row) { return rows.Text(row, 1) + '\0' + rows.Text(row, 0); };
  for (uint64_t row = 0; row < rows.size(); ++row) {
    if (rows.Bool(row, 3)) waiting.insert(pair(row));
  }
  std::vector<NewDelivery> deliveries;
  for (uint64_t row = 0; row < rows.size(); ++row) {
    bool is_null = false;
    const Datum payload = rows.Value(row, 2, &is_null);
    deliveries.push_back(
        {NewCuid(), rows.Text(row, 0), rows.Text(row, 1), payload, !waiting.contains(pair(row))});
  }
  outbox_.Write("alert.resolved", deliveries, locked_webhooks_, handover_);
}

void AlertStore::WriteResolves(std::span<OutgoingTransition* const> batch,
                               std::vector<size_t> resolves, std::vector<WriteResult>* results) {
  if (resolves.empty()) return;
  const pg::UserScope user(binding_.owner(), false);
  resolves = LockAlerts(batch, std::move(resolves), results);
  const std::span<const size_t> all(resolves);
  for (size_t first = 0; first < all.size(); first += kAlertsPerStatement) {
    Resolve(batch, all.subspan(first, std::min(kAlertsPerStatement, all.size() - first)));
  }
  Notify(batch, resolves, "alert.resolved");
}

}  // namespace alerting::ext
