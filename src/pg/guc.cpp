// Implements pg/guc.h.
#include "pg/guc.h"

#include "core/address_policy.h"
#include "pg/pg_headers.h"

namespace alerting::pg {

bool guc_enabled = true;
int guc_queue_size_kb = 16 * 1024;
char* guc_allowed_networks = nullptr;
char* guc_ca_file = nullptr;
char* guc_client_certificate_file = nullptr;
char* guc_client_key_file = nullptr;
int guc_delivery_timeout_ms = 15'000;
int guc_max_concurrent_deliveries = 256;
int guc_delivery_retention_minutes = 30 * 24 * 60;

namespace {

extern "C" bool CheckAllowedNetworks(char** value, void** /*extra*/, GucSource /*source*/) {
  // Nothing here may throw through the GUC machinery.
  try {
    std::string problem;
    if (AddressPolicy::Parse(*value == nullptr ? "" : *value, &problem)) return true;
    GUC_check_errdetail("%s.", problem.c_str());
    GUC_check_errhint(
        "Give networks as address/bits, separated by commas, such as "
        "\"10.0.0.0/8, fd00::/8\".");
  } catch (...) {
    GUC_check_errdetail("Out of memory.");
  }
  return false;
}

}  // namespace

void DefineSettings() {
  DefineCustomBoolVariable(
      "alerting.enabled", "Evaluates metrics and sends webhooks.",
      "When off, inserts are not captured and the workers stop after their current step.",
      &guc_enabled, true, PGC_SIGHUP, 0, nullptr, nullptr, nullptr);
  DefineCustomIntVariable(
      "alerting.queue_size", "Size of each database's sample queue in shared memory.",
      "A transaction that does not fit is read from its table instead. Takes effect when the "
      "evaluator starts.",
      &guc_queue_size_kb, 16 * 1024, 64, 1024 * 1024, PGC_SIGHUP, GUC_UNIT_KB, nullptr, nullptr,
      nullptr);
  DefineCustomStringVariable(
      "alerting.allowed_networks", "Networks that webhooks may reach although they are not public.",
      "Comma-separated list of address/bits. Plain http is sent only to these.",
      &guc_allowed_networks, "", PGC_SUSET, 0, CheckAllowedNetworks, nullptr, nullptr);
  DefineCustomStringVariable(
      "alerting.ca_file", "File of the certificate authorities that webhooks' endpoints may have.",
      "PEM; instead of the system's. Empty: the system's.", &guc_ca_file, "", PGC_SIGHUP,
      GUC_SUPERUSER_ONLY, nullptr, nullptr, nullptr);
  DefineCustomStringVariable(
      "alerting.client_certificate_file",
      "File of the certificate that is shown to webhooks' endpoints that ask for one.",
      "PEM, with intermediate certificates if any. Empty: none is shown.",
      &guc_client_certificate_file, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, nullptr, nullptr, nullptr);
  DefineCustomStringVariable("alerting.client_key_file", "File of that certificate's private key.",
                             "PEM, not encrypted. Empty: the key is in the certificate's file.",
                             &guc_client_key_file, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, nullptr,
                             nullptr, nullptr);
  DefineCustomIntVariable("alerting.delivery_timeout",
                          "Longest time that one webhook request may take.", nullptr,
                          &guc_delivery_timeout_ms, 15'000, 100, 600'000, PGC_SIGHUP, GUC_UNIT_MS,
                          nullptr, nullptr, nullptr);
  DefineCustomIntVariable("alerting.max_concurrent_deliveries",
                          "Webhook requests that a database has under way at the same time.",
                          nullptr, &guc_max_concurrent_deliveries, 256, 1, 1000, PGC_SIGHUP, 0,
                          nullptr, nullptr, nullptr);
  DefineCustomIntVariable("alerting.delivery_retention",
                          "How long delivered webhooks stay in alerting.delivery.",
                          "Those of an alert that is still FIRING stay longer. -1 keeps all.",
                          &guc_delivery_retention_minutes, 30 * 24 * 60, -1, 10 * 365 * 24 * 60,
                          PGC_SIGHUP, GUC_UNIT_MIN, nullptr, nullptr, nullptr);
  MarkGUCPrefixReserved("alerting");
}

}  // namespace alerting::pg
