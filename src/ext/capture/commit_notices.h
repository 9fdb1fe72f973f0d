// NOTIFY at COMMIT, see commit_notices.cpp.
#ifndef ALERTING_EXT_CAPTURE_COMMIT_NOTICES_H_
#define ALERTING_EXT_CAPTURE_COMMIT_NOTICES_H_

namespace alerting::ext {

void RegisterNoticeCallbacks();

}  // namespace alerting::ext

#endif  // ALERTING_EXT_CAPTURE_COMMIT_NOTICES_H_
