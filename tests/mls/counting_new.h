// Counts what the program takes from the heap by operator new (the C library's own calls, such as those
// of the cryptographic library, are not seen). Link counting_new.cc.
#pragma once

#include <cstddef>

namespace slipway::mls {

size_t allocations_made();

}  // namespace slipway::mls
