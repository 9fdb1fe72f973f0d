// Implements ext/evaluator/extension_transaction.h.
#include "ext/evaluator/extension_transaction.h"

#include <cstring>
#include <string>

#include "ext/version.h"
#include "pg/worker.h"

namespace alerting::ext {

namespace {

// Both workers wait until the versions agree. Nothing is lost meanwhile: what is inserted is read
// from the tables afterwards.
void TellOutdated(pg::DatabaseSlot* slot, const std::string& version) {
  const bool is_older = strverscmp(version.c_str(), kServedVersion) < 0;
  const char* hint = is_older ? "Run ALTER EXTENSION alerting UPDATE in this database."
                              : "Restart the server, so that it loads the new library.";
  const std::string problem = "extension \"alerting\" has version " + version +
                              ", but the library version " + kServedVersion + ": ";
  pg::SetProblem(slot, pg::kEvaluator, (problem + hint).c_str());
  pg::Call([&] {
    ereport(WARNING,
            (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
             errmsg("alerting: nothing is judged or sent in database \"%s\": its extension has "
                    "version %s, but the library version %s",
                    get_database_name(MyDatabaseId), version.c_str(), kServedVersion),
             errdetail("What is inserted meanwhile is read afterwards."), errhint("%s", hint)));
  });
}

}  // namespace

ExtensionTransaction::ExtensionTransaction(pg::DatabaseSlot* slot, const char* activity)
    : transaction_(activity) {
  const std::optional<std::string> version = pg::LockExtension();
  if (version == kServedVersion) return;
  // Unless somebody asked again meanwhile, there is nothing to run here.
  const pg::Wish wish = version ? pg::Wish::kOutdated : pg::Wish::kNothing;
  const bool changed = pg::ChangeWish(slot, {pg::Wish::kProbing, pg::Wish::kRun}, wish);
  if (changed && wish == pg::Wish::kOutdated) TellOutdated(slot, *version);
  throw pg::WorkerExit();
}

}  // namespace alerting::ext
