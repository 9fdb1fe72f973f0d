// The settings of the extension (alerting.*). Any process.
#ifndef ALERTING_PG_GUC_H_
#define ALERTING_PG_GUC_H_

namespace alerting::pg {

extern bool guc_enabled;                    // alerting.enabled
extern int guc_queue_size_kb;               // alerting.queue_size
extern char* guc_allowed_networks;          // alerting.allowed_networks
extern char* guc_ca_file;                   // alerting.ca_file
extern char* guc_client_certificate_file;   // alerting.client_certificate_file
extern char* guc_client_key_file;           // alerting.client_key_file
extern int guc_delivery_timeout_ms;         // alerting.delivery_timeout
extern int guc_max_concurrent_deliveries;   // alerting.max_concurrent_deliveries
extern int guc_delivery_retention_minutes;  // alerting.delivery_retention; -1: keep for ever

// Defines them; called once from _PG_init.
void DefineSettings();

}  // namespace alerting::pg

#endif  // ALERTING_PG_GUC_H_
