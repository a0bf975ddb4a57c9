// A whole participant: any message, call and passing of time. It stays within its bounds, each operation ends at most once,
// and closing leaves no session and no timer.
#include "session_events.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) { return slipway::testing::fuzz_session(data, size, false); }
