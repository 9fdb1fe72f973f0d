// Capture of a source whose mapping is of expressions: a query over the rows, run with the rights
// of the table's owner. Any backend.
#ifndef ALERTING_EXT_CAPTURE_QUERY_H_
#define ALERTING_EXT_CAPTURE_QUERY_H_

#include "ext/capture_source.h"

namespace alerting::ext {

// Adds the samples of the trigger's rows. A row whose expressions fail is counted, warned of and
// skipped.
void CaptureByQuery(TriggerData* trigger_data, CaptureSource* source);

}  // namespace alerting::ext

#endif  // ALERTING_EXT_CAPTURE_QUERY_H_
