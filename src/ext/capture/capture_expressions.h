// Capture of a source whose mapping is of expressions. Where they are all PostgreSQL's own they are
// evaluated as they stand; else a query over the rows is run, with the rights of the table's owner.
// Any backend.
#ifndef ALERTING_EXT_CAPTURE_CAPTURE_EXPRESSIONS_H_
#define ALERTING_EXT_CAPTURE_CAPTURE_EXPRESSIONS_H_

#include "ext/capture/capture_source.h"

namespace alerting::ext {

// Adds the samples of the trigger's rows. A row whose expressions fail is counted, warned of and
// skipped.
void CaptureByExpressions(TriggerData* trigger_data, CaptureSource* source);

}  // namespace alerting::ext

#endif  // ALERTING_EXT_CAPTURE_CAPTURE_EXPRESSIONS_H_
